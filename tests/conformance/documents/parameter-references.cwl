cwlVersion: v1.2
class: CommandLineTool
baseCommand: [printf, '%s\n']
inputs:
  a: Any
arguments:
  - $(inputs.a.b[1])
  - $(inputs.a['with space'])
  - $(inputs.a["it's"])
  - $(inputs.a.b.length)
  - 'pre$(inputs.a.b[0])post$(inputs.a.flag)'
  - \$(inputs.a)
  - 'as $(inputs.a.object)'
  - $
  - $5
outputs:
  said: stdout
stdout: said.txt
