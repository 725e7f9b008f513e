cwlVersion: v1.2
class: CommandLineTool
$namespaces: {edam: 'http://edamontology.org/'}
baseCommand: [printf, '%s\n']
inputs:
  scene: {type: File, format: edam:format_1964}
arguments: [$(inputs.scene.basename), $(inputs.scene.nameroot), $(inputs.scene.nameext), $(inputs.scene.size), $(inputs.scene.format)]
outputs:
  said: {type: stdout, format: $(inputs.scene.format)}
stdout: said.txt
