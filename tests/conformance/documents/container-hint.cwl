cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
hints:
  DockerRequirement: {dockerPull: 'localhost/earthcode-broker-test:1'}
inputs: {words: 'string[]'}
outputs: {said: {type: 'File[]', outputSource: say/said}}
steps:
  say:
    scatter: word
    in: {word: words}
    out: [said]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo "$0"; ls /etc/made-for-tests']
      inputs: {word: {type: string, inputBinding: {}}}
      outputs: {said: stdout}
      stdout: $(inputs.word)
