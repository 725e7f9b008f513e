cwlVersion: v1.2
class: CommandLineTool
requirements: {InlineJavascriptRequirement: {}}
baseCommand: echo
arguments: [$(String.fromCharCode(0xd800))]
inputs: []
outputs: {said: stdout}
