cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
  EnvVarRequirement:
    envDef: {A: '$(["x", "--bind", "/", "/cwl/out/host"].join(String.fromCharCode(0)))'}
baseCommand: [ls, host]
inputs: []
outputs: {said: stdout}
