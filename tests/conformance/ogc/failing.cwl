cwlVersion: v1.2
class: CommandLineTool
id: failing
label: Failing
doc: Ends with exit code 1.
s:softwareVersion: 1.0.0
$namespaces: {s: https://schema.org/}
baseCommand: "false"
inputs: []
outputs: []
