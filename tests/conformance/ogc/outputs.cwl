cwlVersion: v1.2
class: CommandLineTool
id: outputs
label: Outputs
doc: Says a text in one output of each kind.
s:softwareVersion: 1.0.0
$namespaces: {s: https://schema.org/, iana: "https://www.iana.org/assignments/media-types/"}
baseCommand: echo
inputs:
  text: {type: string, label: Text, doc: What to say., inputBinding: {position: 1}}
stdout: said.txt
outputs:
  said: {type: stdout, format: iana:text/plain, label: Said, doc: The text in a file.}
  text: {type: string, label: Text, doc: The text., outputBinding: {outputEval: $(inputs.text)}}
  either: {type: [string, int], label: Either, doc: A text or a number., outputBinding: {outputEval: $(inputs.text)}}
