cwlVersion: v1.2
class: CommandLineTool
requirements:
  EnvVarRequirement:
    envDef: {FIXED: a b, GIVEN: $(inputs.word)}
baseCommand: [sh, -c, 'echo "$FIXED|$GIVEN"; test "$HOME" = "$0" && test "$TMPDIR" = "$1" && touch "$TMPDIR/t" && echo home; env | grep -c BROKER']
arguments: [$(runtime.outdir), $(runtime.tmpdir)]
successCodes: [0, 1]
inputs:
  word: string
outputs:
  said: stdout
stdout: said.txt
