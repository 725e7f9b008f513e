cwlVersion: v1.2
class: Workflow
inputs: {scene: File}
outputs:
  changed: {type: File, outputSource: change/changed}
  after: {type: File, outputSource: look/said}
steps:
  change:
    in: {scene: scene}
    out: [changed]
    run:
      class: CommandLineTool
      requirements: {InitialWorkDirRequirement: {listing: [{entry: $(inputs.scene), writable: true}]}}
      baseCommand: [sh, -c, 'echo more >> "$0"']
      inputs: {scene: {type: File, inputBinding: {}}}
      outputs: {changed: {type: File, outputBinding: {glob: $(inputs.scene.basename)}}}
  look:
    in: {scene: scene, after: change/changed}
    out: [said]
    run:
      class: CommandLineTool
      baseCommand: cat
      inputs: {scene: {type: File, inputBinding: {}}, after: {type: File, inputBinding: {}}}
      outputs: {said: stdout}
      stdout: said.txt
