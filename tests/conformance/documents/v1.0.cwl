cwlVersion: v1.0
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
baseCommand: [printf, '%s\n']
inputs:
  tree: Directory
  optional: {type: string?, inputBinding: {position: 2}}
arguments: ['$(inputs.tree.listing.length) in $(inputs.tree.listing[0].basename)']
outputs: {said: stdout}
stdout: said.txt
