cwlVersion: v1.2
class: Workflow
inputs:
  text: string
  times: {type: int, default: 2}
outputs:
  file: {type: File, outputSource: repeat/out}
  lines: {type: int, outputSource: count/lines}
steps:
  count:
    in: {file: repeat/out}
    out: [lines]
    run:
      class: CommandLineTool
      requirements: {InlineJavascriptRequirement: {}}
      baseCommand: [wc, -l]
      stdin: $(inputs.file.path)
      stdout: n
      inputs: {file: File}
      outputs:
        lines: {type: int, outputBinding: {glob: n, loadContents: true, outputEval: '$(parseInt(self[0].contents))'}}
  repeat:
    in: {text: text, times: times}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'for i in $(seq "$1"); do echo "$0"; done']
      stdout: repeated.txt
      inputs:
        text: {type: string, inputBinding: {position: 1}}
        times: {type: int, inputBinding: {position: 2}}
      outputs: {out: stdout}
