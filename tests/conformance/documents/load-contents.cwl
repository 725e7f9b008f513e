cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
baseCommand: [sh, -c, 'echo "$0" > n; exit 0']
inputs:
  config: {type: File, loadContents: true}
arguments: ['$(JSON.parse(inputs.config.contents).threshold * 2)']
outputs:
  doubled:
    type: float
    outputBinding: {glob: n, loadContents: true, outputEval: '$(parseFloat(self[0].contents))'}
  code: {type: int, outputBinding: {outputEval: $(runtime.exitCode)}}
  same: {type: string, outputBinding: {outputEval: $(inputs.config.basename)}}
