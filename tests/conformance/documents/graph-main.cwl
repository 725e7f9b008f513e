cwlVersion: v1.2
$graph:
  - id: say
    class: CommandLineTool
    baseCommand: [printf, '%s\n']
    inputs: {text: {type: string, inputBinding: {}}}
    outputs: {said: stdout}
    stdout: said.txt
  - id: main
    class: Workflow
    inputs: {text: string}
    outputs: {said: {type: File, outputSource: step/said}}
    steps:
      step: {run: '#say', in: {text: text}, out: [said]}
