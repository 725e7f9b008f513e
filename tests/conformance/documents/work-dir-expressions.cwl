cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
  InitialWorkDirRequirement:
    listing:
      - $(inputs.absent)
      - $(inputs.many)
      - '${ return {class: "Directory", basename: "d", listing: [inputs.two]}; }'
      - {entry: $(inputs.one), entryname: '$("re" + "named.txt")'}
      - {entry: '$(inputs.many.length)', entryname: count}
baseCommand: [sh, -c, 'ls -1 . d; cat renamed.txt count']
inputs:
  absent: File?
  one: File
  two: File
  many: File[]
outputs:
  said: stdout
stdout: said.log
