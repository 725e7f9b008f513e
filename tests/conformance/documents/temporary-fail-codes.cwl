cwlVersion: v1.2
class: CommandLineTool
temporaryFailCodes: [75]
baseCommand: [sh, -c, 'exit 75']
inputs: []
outputs: []
