cwlVersion: v1.2
$namespaces: {s: https://schema.org/}
s:version: 1
$graph:
  - class: Workflow
    id: outer
    label: Outer
    doc: [One, Two]
    requirements:
      - class: SubworkflowFeatureRequirement
      - class: ResourceRequirement
        coresMin: 1
        coresMax: 2
        ramMin: 100
    inputs:
      - {id: scene, type: Directory, label: Scene, doc: A scene}
      - {id: level, type: int, label: Level}
    outputs:
      - {id: out, type: Directory, outputSource: inner/out, doc: Result}
    steps:
      - id: inner
        label: Inner
        run: '#inner'
        in: [{id: scene, source: scene}]
        out: [out]
  - class: Workflow
    id: inner
    label: ''
    doc: Inner
    hints: {DockerRequirement: {dockerPull: docker.io/library/alpine:3}}
    inputs: [{id: scene, type: Directory, label: Scene, doc: A scene}]
    outputs: [{id: out, type: Directory, outputSource: a/out}]
    steps:
      - {id: a, run: '#tool', in: [{id: scene, source: scene}], out: [out]}
      - {id: b, run: '#other', in: [{id: scene, source: scene}], out: [out], requirements: [{class: DockerRequirement, dockerPull: 'docker.io/library/alpine:3'}]}
  - class: CommandLineTool
    id: tool
    baseCommand: [run]
    requirements: []
    inputs: [{id: scene, type: Directory, label: Scene}]
    outputs: [{id: out, type: Directory, outputBinding: {glob: .}}]
  - class: CommandLineTool
    id: other
    arguments: [run]
    requirements: {ResourceRequirement: {ramMin: 1, ramMax: 2, coresMin: 1, coresMax: 1}}
    inputs: {scene: Directory}
    outputs: {out: {type: Directory, label: Out, doc: Out, outputBinding: {glob: .}}}
