cwlVersion: v1.2
class: CommandLineTool
baseCommand: 'true'
inputs: []
outputs: {made: {type: File, outputBinding: {glob: made.tif}}}
