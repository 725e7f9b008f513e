cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
  ResourceRequirement: {coresMin: 1, ramMin: $(inputs.megabytes * 2), tmpdirMin: 3, outdirMin: 4}
baseCommand: [sh, -c, 'test -w "$0" && test -w "$1" && test "$(pwd -P)" = "$0" && printf "%s\n" "$2" "$3" "$4" "$5"']
inputs: {megabytes: int}
arguments: [$(runtime.outdir), $(runtime.tmpdir), $(runtime.cores), $(runtime.ram), 'tmp $(runtime.tmpdirSize >= 3)', 'out $(runtime.outdirSize >= 4)']
outputs: {said: stdout}
stdout: said.txt
