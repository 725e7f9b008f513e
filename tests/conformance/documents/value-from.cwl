cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
baseCommand: [printf, '%s\n']
inputs:
  number: {type: int, inputBinding: {position: 2, valueFrom: $(self * 2)}}
  absent: {type: int?, inputBinding: {position: 1, valueFrom: never}}
  order: int
  words: {type: 'string[]', inputBinding: {position: $(inputs.order), valueFrom: '$(self.join("-"))'}}
arguments:
  - {position: 3, valueFrom: 'both $(inputs.number) and $(inputs.words[0])'}
outputs:
  said: stdout
stdout: $(inputs.words[1]).txt
