cwlVersion: v1.2
class: Workflow
inputs: {text: string, scene: File}
outputs:
  through: {type: File, outputSource: scene}
  word: {type: string, outputSource: text}
  one: {type: File, outputSource: first/same}
  two: {type: File, outputSource: second/same}
  tree: {type: Directory, outputSource: second/tree}
steps:
  first: &step
    in: {text: text}
    out: [same, tree]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'mkdir tree; echo "$0" > tree/in.txt; echo "$0" > same.txt']
      inputs: {text: {type: string, inputBinding: {}}}
      outputs:
        same: {type: File, outputBinding: {glob: same.txt}}
        tree: {type: Directory, outputBinding: {glob: tree}}
  second: *step
