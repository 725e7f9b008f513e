cwlVersion: v1.2
class: CommandLineTool
baseCommand: [printf, '%s\n']
inputs:
  each:
    type: {type: array, items: string, inputBinding: {prefix: -e}}
    inputBinding: {position: 1}
  pairs:
    type:
      type: array
      items: {type: array, items: int, inputBinding: {prefix: -i, separate: false}}
      inputBinding: {prefix: --group}
    inputBinding: {position: 2, prefix: --all}
  none: {type: 'string[]', inputBinding: {position: 3, prefix: --none}}
outputs:
  said: stdout
stdout: said.txt
