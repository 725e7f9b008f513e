cwlVersion: v1.2
class: CommandLineTool
baseCommand: [printf, '%s\n']
arguments: [{prefix: --first, position: -1, valueFrom: now}]
inputs:
  last: {type: string, inputBinding: {position: 9}}
  glued: {type: int, inputBinding: {prefix: --n=, separate: false, position: 1}}
  apart: {type: string, inputBinding: {prefix: --text, position: 1}}
  joined: {type: 'int[]', inputBinding: {prefix: --list, itemSeparator: ',', position: 3}}
  flag: {type: boolean, inputBinding: {prefix: --flag, position: 4}}
  other: {type: boolean, inputBinding: {prefix: --other, position: 4}}
  unbound: string
outputs:
  said: stdout
stdout: said.txt
