cwlVersion: v1.2
$graph:
  - id: copy
    class: CommandLineTool
    hints: [{$import: hints.yml}]
    baseCommand: [cat]
    inputs:
      file: {type: File, inputBinding: {}}
      more: {type: File, default: {class: File, location: more.txt}, inputBinding: {position: 1}}
    outputs: {said: stdout}
    stdout: second.txt
