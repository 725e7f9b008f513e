cwlVersion: v1.2
class: CommandLineTool
baseCommand: [printf, '%s\n']
inputs:
  scene:
    type:
      - string
      - {type: array, items: string, inputBinding: {prefix: --each}}
      - {type: record, name: named, fields: {name: {type: string, inputBinding: {prefix: --name}}}}
    inputBinding: {position: 1}
  number: {type: [int, 'null', boolean], inputBinding: {prefix: -n, position: 2}}
outputs:
  said: stdout
stdout: said.txt
