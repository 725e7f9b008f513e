cwlVersion: v1.2
class: CommandLineTool
requirements:
  InitialWorkDirRequirement:
    listing: [$(inputs.scene)]
baseCommand: [sh, -c, 'cat "$0" && ! echo changed 2> refused > "$0" && cat "$0"']
inputs:
  scene: {type: File, inputBinding: {valueFrom: $(self.basename)}}
outputs:
  said: stdout
stdout: said.txt
