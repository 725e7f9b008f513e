cwlVersion: v1.2
$namespaces: {s: https://schema.org/}
s:softwareVersion: 2.1.0
$graph:
  - class: Workflow
    id: crop
    label: Crop
    doc: Crops a scene.
    requirements: {ResourceRequirement: {coresMin: 1, coresMax: 1, ramMin: 128, ramMax: 128}}
    inputs:
      scene: {type: Directory, label: Scene, doc: A STAC catalog}
      bands: {type: 'string[]?', label: Bands, doc: Names of bands}
    outputs: {result: {type: Directory, label: Result, doc: A STAC catalog, outputSource: cut/result}}
    steps: {cut: {label: Cut, doc: Cuts, run: '#cut', in: {scene: scene, bands: bands}, out: [result]}}
  - class: CommandLineTool
    id: cut
    baseCommand: [sh, -c]
    arguments: ['cp -r "$0"/* .', $(inputs.scene.path)]
    requirements: {DockerRequirement: {dockerPull: docker.io/library/alpine:3}}
    inputs:
      scene: {type: Directory, label: Scene, doc: A STAC catalog}
      bands: {type: 'string[]?', label: Bands, doc: Names of bands}
    outputs: {result: {type: Directory, label: Result, doc: A STAC catalog, outputBinding: {glob: .}}}
