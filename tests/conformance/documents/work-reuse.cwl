cwlVersion: v1.2
class: CommandLineTool
requirements: {WorkReuse: {enableReuse: $(!inputs.fresh)}, InlineJavascriptRequirement: {}}
hints:
  SoftwareRequirement: {packages: {sh: {version: ['1']}}}
  acme:Unheard: {of: this}
$namespaces: {acme: 'https://example.org/acme#'}
baseCommand: [echo, done]
inputs: {fresh: boolean}
outputs: {said: stdout}
stdout: said.txt
