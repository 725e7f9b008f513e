cwlVersion: v1.2
class: CommandLineTool
baseCommand: 'true'
inputs: {cloud: int, kind: {type: {type: enum, symbols: [optical, radar]}}}
outputs: []
