cwlVersion: v1.2
class: CommandLineTool
baseCommand: cat
inputs:
  given: Directory
arguments: ['$(inputs.given.listing[0].path)', $(inputs.given.path)/b.txt]
outputs:
  said: stdout
stdout: said.txt
