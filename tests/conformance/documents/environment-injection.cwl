cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
  EnvVarRequirement:
    envDef: {A: '$(["x", "--bind", "/", "/tmp/host"].join(String.fromCharCode(0)))'}
baseCommand: [ls, /tmp/host]
inputs: []
outputs: {said: stdout}
