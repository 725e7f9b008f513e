cwlVersion: v1.2
$graph:
  - class: Workflow
    id: main
    inputs: {scene: Directory, level: int?}
    outputs: {out: {type: Directory, outputSource: one/out}}
    steps:
      one: {run: '#tool', in: {scene: scene}, out: [out]}
  - class: CommandLineTool
    id: tool
    baseCommand: run
    inputs: {scene: Directory}
    outputs: {out: {type: Directory, outputBinding: {glob: .}}}
