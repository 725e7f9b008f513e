cwlVersion: v1.2
$namespaces:
  s: https://schema.org/
s:softwareVersion: 1.0.0
s:name: Water bodies
s:description: Water bodies of an optical satellite scene from a water index and Otsu's threshold.
s:license: https://www.apache.org/licenses/LICENSE-2.0
s:dateCreated: "2026-11-22"
s:keywords: [water, NDWI, MNDWI, Otsu, Sentinel-2, STAC]
s:author:
  - class: s:Organization
    s:name: EarthCODE broker developers

$graph:
  - class: Workflow
    id: water-bodies
    label: Water bodies
    doc: >-
      Finds water in one optical satellite scene (such as Sentinel-2): computes the water indices NDWI and MNDWI, parts
      water from land at Otsu's threshold, outlines the water bodies, and describes all of it in a STAC catalog.
    requirements:
      ScatterFeatureRequirement: {}
      StepInputExpressionRequirement: {}
    inputs:
      scene:
        type: Directory
        label: Scene
        doc: >-
          A STAC catalog (catalog.json) with one item whose assets are the bands green, nir and swir16, named so by
          common name (eo:bands) or by key.
      aoi:
        type: double[]?
        label: Area of interest
        doc: West, south, east and north in degrees (longitude and latitude on WGS 84). The whole scene when not given.
      index:
        type:
          type: enum
          symbols: [mndwi, ndwi]
        default: mndwi
        label: Index for the water mask
        doc: >-
          Which index parts water from land. mndwi needs short-wave infrared and does not take towns for water; ndwi
          is finer where the short-wave infrared band has larger pixels (Sentinel-2).
      otsu:
        type:
          type: enum
          symbols: [plausible, always]
        default: plausible
        label: When to take Otsu's threshold
        doc: >-
          Otsu's method parts any scene in two, also one without water. plausible takes its threshold only where the
          two parts are distinct and the threshold is not negative, and zero otherwise. always takes it as it is; when
          it is negative, what is outlined is land of a higher index, and the results say so.
      threshold:
        type: double?
        label: Threshold
        doc: Index value above which a pixel is water. Found by Otsu's method when not given.
      min_pixels:
        type: int
        default: 6
        label: Smallest patch
        doc: Patches of water (and of land within water) of fewer pixels are taken for noise.
    outputs:
      results:
        type: Directory
        label: Results
        doc: >-
          A STAC catalog with one item: index rasters and water mask (Cloud-Optimized GeoTIFF), water bodies (GeoJSON)
          and a quicklook (PNG).
        outputSource: describe/results
    steps:
      crop:
        run: "#crop"
        label: Cut each band to the area of interest
        doc: "Three times: green, near infrared, short-wave infrared. All on the grid of green."
        scatter: band
        in:
          scene: scene
          band: {default: [green, nir, swir16]}
          aoi: aoi
        out: [cropped]
      compute:
        run: "#compute"
        label: Compute each water index
        doc: "Twice: NDWI and MNDWI."
        scatter: index
        in:
          index: {default: [ndwi, mndwi]}
          bands: crop/cropped
        out: [raster]
      separate:
        run: "#separate"
        label: Part water from land
        doc: At Otsu's threshold, at zero or at that given; small patches removed.
        in:
          rasters: compute/raster
          # An enum is no string to CWL, though its value is: valueFrom hands the value on.
          index: {source: index, valueFrom: $(self)}
          otsu: {source: otsu, valueFrom: $(self)}
          min_pixels: min_pixels
          threshold: threshold
        out: [water, choice]
      outline:
        run: "#outline"
        label: Outline the water bodies
        doc: Polygons in longitude and latitude, the largest first.
        in:
          water: separate/water
        out: [polygons]
      describe:
        run: "#describe"
        label: Describe the results
        doc: Writes the STAC catalog and the quicklook.
        in:
          scene: scene
          index: {source: index, valueFrom: $(self)}
          bands: crop/cropped
          rasters: compute/raster
          water: separate/water
          polygons: outline/polygons
          choice: separate/choice
        out: [results]

  - class: CommandLineTool
    id: crop
    label: Cut one band to the area of interest
    doc: Runs scripts/crop.py, whose first lines say what it does.
    requirements:
      ResourceRequirement: {coresMin: 1, coresMax: 1, ramMin: 512, ramMax: 1024}
      InitialWorkDirRequirement:
        listing:
          - entryname: crop.py
            entry: {$include: scripts/crop.py}
    hints:
      DockerRequirement: {dockerPull: "localhost/earthcode-broker/water-bodies:1.0.0"}
      SoftwareRequirement:
        packages:
          python: {version: ["3.11"]}
          numpy: {version: ["2"]}
          rasterio: {version: ["1.4"]}
    baseCommand: [python3, crop.py]
    inputs:
      scene:
        type: Directory
        label: Scene
        doc: The staged STAC catalog.
        inputBinding: {position: 1}
      band:
        type: string
        label: Band
        doc: Common name of the band.
        inputBinding: {position: 2}
      aoi:
        type: double[]?
        label: Area of interest
        doc: West, south, east, north in degrees.
        inputBinding: {position: 3}
    outputs:
      cropped:
        type: File
        label: Cropped band
        doc: GeoTIFF, float32, NaN where there is no data.
        outputBinding: {glob: $(inputs.band).tif}

  - class: CommandLineTool
    id: compute
    label: Compute one water index
    doc: Runs scripts/index.py, whose first lines say what it does.
    requirements:
      ResourceRequirement: {coresMin: 1, coresMax: 1, ramMin: 512, ramMax: 1024}
      InitialWorkDirRequirement:
        listing:
          - entryname: index.py
            entry: {$include: scripts/index.py}
    hints:
      DockerRequirement: {dockerPull: "localhost/earthcode-broker/water-bodies:1.0.0"}
      SoftwareRequirement:
        packages:
          python: {version: ["3.11"]}
          numpy: {version: ["2"]}
          rasterio: {version: ["1.4"]}
    baseCommand: [python3, index.py]
    inputs:
      index:
        type: string
        label: Index
        doc: ndwi or mndwi.
        inputBinding: {position: 1}
      bands:
        type: File[]
        label: Bands
        doc: The cropped bands, named by band.
        inputBinding: {position: 2}
    outputs:
      raster:
        type: File
        label: Index raster
        doc: Cloud-Optimized GeoTIFF, float32, -1 to 1.
        outputBinding: {glob: $(inputs.index).tif}

  - class: CommandLineTool
    id: separate
    label: Part water from land
    doc: Runs scripts/threshold.py, whose first lines say what it does.
    requirements:
      ResourceRequirement: {coresMin: 1, coresMax: 1, ramMin: 512, ramMax: 1024}
      InitialWorkDirRequirement:
        listing:
          - entryname: threshold.py
            entry: {$include: scripts/threshold.py}
    hints:
      DockerRequirement: {dockerPull: "localhost/earthcode-broker/water-bodies:1.0.0"}
      SoftwareRequirement:
        packages:
          python: {version: ["3.11"]}
          numpy: {version: ["2"]}
          rasterio: {version: ["1.4"]}
    baseCommand: [python3, threshold.py]
    inputs:
      index:
        type: string
        label: Index
        doc: Which of the rasters to part.
        inputBinding: {position: 1}
      otsu:
        type: string
        label: When to take Otsu's threshold
        doc: plausible or always.
        inputBinding: {position: 2}
      min_pixels:
        type: int
        label: Smallest patch
        doc: In pixels.
        inputBinding: {position: 3}
      rasters:
        type: File[]
        label: Index rasters
        doc: Named by index.
        inputBinding: {position: 4, itemSeparator: ","}
      threshold:
        type: double?
        label: Threshold
        doc: Instead of Otsu's.
        inputBinding: {position: 5}
    outputs:
      water:
        type: File
        label: Water mask
        doc: 1 above the threshold (water), 0 not, 255 no data.
        outputBinding: {glob: water.tif}
      choice:
        type: File
        label: Threshold used
        doc: JSON with threshold, method, separability and more.
        outputBinding: {glob: threshold.json}

  - class: CommandLineTool
    id: outline
    label: Outline the water bodies
    doc: Runs scripts/polygons.py, whose first lines say what it does.
    requirements:
      ResourceRequirement: {coresMin: 1, coresMax: 1, ramMin: 512, ramMax: 1024}
      InitialWorkDirRequirement:
        listing:
          - entryname: polygons.py
            entry: {$include: scripts/polygons.py}
    hints:
      DockerRequirement: {dockerPull: "localhost/earthcode-broker/water-bodies:1.0.0"}
      SoftwareRequirement:
        packages:
          python: {version: ["3.11"]}
          numpy: {version: ["2"]}
          rasterio: {version: ["1.4"]}
    baseCommand: [python3, polygons.py]
    inputs:
      water:
        type: File
        label: Water mask
        doc: 1 is water.
        inputBinding: {position: 1}
    outputs:
      polygons:
        type: File
        label: Water bodies
        doc: GeoJSON.
        outputBinding: {glob: water.geojson}

  - class: CommandLineTool
    id: describe
    label: Write the STAC catalog and the quicklook
    doc: Runs scripts/catalog.py, whose first lines say what it does.
    requirements:
      ResourceRequirement: {coresMin: 1, coresMax: 1, ramMin: 512, ramMax: 1024}
      InitialWorkDirRequirement:
        listing:
          - entryname: catalog.py
            entry: {$include: scripts/catalog.py}
    hints:
      DockerRequirement: {dockerPull: "localhost/earthcode-broker/water-bodies:1.0.0"}
      SoftwareRequirement:
        packages:
          python: {version: ["3.11"]}
          numpy: {version: ["2"]}
          rasterio: {version: ["1.4"]}
    baseCommand: [python3, catalog.py]
    inputs:
      scene:
        type: Directory
        label: Scene
        doc: The staged STAC catalog.
        inputBinding: {position: 1}
      index:
        type: string
        label: Index
        doc: The one the water mask was made from.
        inputBinding: {position: 2}
      bands:
        type: File[]
        label: Bands
        doc: Cropped, for the quicklook.
        inputBinding: {position: 3, itemSeparator: ","}
      rasters:
        type: File[]
        label: Index rasters
        doc: Become assets.
        inputBinding: {position: 4, itemSeparator: ","}
      water:
        type: File
        label: Water mask
        doc: Becomes an asset.
        inputBinding: {position: 5}
      polygons:
        type: File
        label: Water bodies
        doc: Become an asset.
        inputBinding: {position: 6}
      choice:
        type: File
        label: Threshold used
        doc: JSON, goes into the properties.
        inputBinding: {position: 7}
    outputs:
      results:
        type: Directory
        label: Results
        doc: Directory with catalog.json.
        outputBinding: {glob: results}
