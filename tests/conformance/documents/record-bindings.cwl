cwlVersion: v1.2
class: CommandLineTool
baseCommand: [printf, '%s\n']
inputs:
  area:
    type:
      type: record
      name: Area
      fields:
        south: {type: float, inputBinding: {prefix: -s, position: 2}}
        name: {type: string, inputBinding: {prefix: -n, position: 1}}
        note: string?
    inputBinding: {prefix: --area}
  mode:
    type: {type: enum, symbols: [fast, exact]}
    inputBinding: {prefix: --mode, position: 5}
outputs:
  said: stdout
stdout: said.txt
