cwlVersion: v1.2
class: CommandLineTool
permanentFailCodes: [0]
baseCommand: 'true'
inputs: []
outputs: []
