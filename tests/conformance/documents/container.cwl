cwlVersion: v1.2
class: CommandLineTool
requirements:
  DockerRequirement: {dockerPull: 'localhost/earthcode-broker-test:1'}
  EnvVarRequirement: {envDef: {WORD: $(inputs.word)}}
baseCommand: [sh, -c, 'cat "$0"; echo $WORD; test -e /etc/made-for-tests && echo found; echo fine > made.txt; ln -s "$0" same.txt']
inputs:
  word: string
  given: {type: File, inputBinding: {}}
outputs:
  said: stdout
  made: {type: File, outputBinding: {glob: made.txt}}
  same: {type: File, outputBinding: {glob: same.txt}}
stdout: said.log
