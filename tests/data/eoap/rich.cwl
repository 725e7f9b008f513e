cwlVersion: v1.2
$namespaces: {s: https://schema.org/, ogc: http://www.opengis.net/def/media-type/ogc/1.0/}
s:softwareVersion: 0.9.1
s:license: Apache-2.0
s:author: [{class: s:Person, s:name: Ada Lovelace, s:identifier: https://orcid.org/0000-0002-1825-0097}]
s:codeRepository: https://example.org/rich.git
$graph:
  - class: Workflow
    id: rich
    label: Rich
    doc: Uses much of the language.
    requirements:
      - class: ScatterFeatureRequirement
      - class: SubworkflowFeatureRequirement
      - class: StepInputExpressionRequirement
      - class: MultipleInputFeatureRequirement
      - class: InlineJavascriptRequirement
      - class: ResourceRequirement
        coresMin: 1
        coresMax: 2
        ramMin: 256
        ramMax: 1024
    inputs:
      scenes: {type: 'Directory[]', label: Scenes, doc: STAC catalogs}
      bands: {type: 'string[]', default: [red, nir], label: Bands, doc: Names of bands}
      method: {type: string?, label: Method, doc: How}
      kind: {type: {type: enum, symbols: [fast, fine]}, default: fast, label: Kind, doc: Which}
      mask: {type: File?, label: Mask, doc: A raster, format: 'ogc:geotiff'}
      settings:
        type: {type: record, fields: {level: int, name: string?}}
        label: Settings
        doc: Some settings
    outputs:
      results: {type: 'Directory[]', label: Results, doc: STAC catalogs, outputSource: inner/result}
      table: {type: File?, label: Table, doc: A table, outputSource: sum/table}
    steps:
      inner:
        label: Inner
        doc: For each scene
        run: '#inner'
        scatter: [scene, band]
        scatterMethod: dotproduct
        in: {scene: scenes, band: bands, level: {source: settings, valueFrom: $(self.level)}}
        out: [result]
      sum:
        label: Sum
        doc: Counts
        run: '#sum'
        when: $(inputs.method == 'fine')
        in: {method: method, scenes: {source: [scenes], linkMerge: merge_flattened}}
        out: [table]
  - class: Workflow
    id: inner
    label: Inner
    doc: One scene.
    inputs:
      scene: {type: Directory, label: Scene, doc: A STAC catalog}
      band: {type: string, label: Band, doc: A band}
      level: {type: int, label: Level, doc: A level}
    outputs: {result: {type: Directory, outputSource: cut/result}}
    steps: {cut: {label: Cut, doc: Cuts, run: '#cut', in: {scene: scene, band: band, level: level}, out: [result]}}
  - class: CommandLineTool
    id: cut
    baseCommand: [cut-scene]
    requirements:
      DockerRequirement: {dockerPull: 'registry.example.org/rich/cut:0.9.1'}
      EnvVarRequirement: {envDef: {LEVEL: $(inputs.level)}}
      InitialWorkDirRequirement: {listing: [{entryname: settings.json, entry: '{"band": "$(inputs.band)"}'}]}
      NetworkAccess: {networkAccess: true}
    inputs:
      scene: {type: Directory, label: Scene, doc: A STAC catalog, inputBinding: {prefix: --scene}}
      band: {type: string, label: Band, doc: A band, inputBinding: {prefix: --band}}
      level: {type: int, label: Level, doc: A level}
    outputs: {result: {type: Directory, label: Result, doc: A STAC catalog, outputBinding: {glob: .}}}
  - class: CommandLineTool
    id: sum
    baseCommand: [sum-scenes]
    requirements: {DockerRequirement: {dockerPull: 'registry.example.org/rich/sum:0.9.1'}}
    inputs:
      method: {type: string?, label: Method, doc: How}
      scenes: {type: 'Directory[]', label: Scenes, doc: STAC catalogs, inputBinding: {}}
    outputs: {table: {type: stdout, label: Table, doc: A table}}
    stdout: table.csv
