cwlVersion: v1.2
class: CommandLineTool
requirements:
  ShellCommandRequirement: {}
inputs:
  text: {type: string, inputBinding: {position: 1}}
arguments:
  - {valueFrom: printf '%s' , shellQuote: false}
  - {valueFrom: '| tr a-z A-Z >', shellQuote: false, position: 2}
  - {valueFrom: loud one.txt, position: 3}
outputs:
  loud: {type: File, outputBinding: {glob: loud one.txt}}
