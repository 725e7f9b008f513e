cwlVersion: v1.0
class: CommandLineTool
baseCommand: [printf, '%s\n']
inputs: {text: {type: string, inputBinding: {}}}
outputs: {said: stdout}
stdout: first.txt
