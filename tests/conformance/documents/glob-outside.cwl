cwlVersion: v1.2
class: CommandLineTool
baseCommand: 'true'
inputs: {up: string}
outputs: {made: {type: 'File[]', outputBinding: {glob: $(inputs.up)/*}}}
