cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
baseCommand: [sh, -c, 'mkdir d; touch b.tif a.tif c.txt d/e.tif "od[d].txt"; ln -s c.txt link.txt']
inputs:
  kind: string
outputs:
  many: {type: 'File[]', outputBinding: {glob: ['*.tif', d/*.tif]}}
  named: {type: File, outputBinding: {glob: $("c" + inputs.kind)}}
  link: {type: File, outputBinding: {glob: link.txt}}
  maybe: {type: File?, outputBinding: {glob: '*.nothing'}}
  none: {type: 'File[]', outputBinding: {glob: '*.nothing'}}
  count: {type: int, outputBinding: {glob: '*', outputEval: $(self.length)}}
