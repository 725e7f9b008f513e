cwlVersion: v1.2
class: CommandLineTool
baseCommand: [printf, '%s\n']
inputs:
  tiny: {type: double, inputBinding: {position: 1}}
  power: {type: float, default: 1.23e5, inputBinding: {position: 2}}
  long: {type: long, inputBinding: {position: 3}}
  huge: {type: double, default: 1000000000000000000000000000000, inputBinding: {position: 4}}
  negative: {type: int, inputBinding: {position: 5}}
  half: {type: float, inputBinding: {position: 6}}
outputs:
  said: stdout
stdout: said.txt
