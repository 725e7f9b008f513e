cwlVersion: v1.2
class: Workflow
id: ndwi-here
label: The water index of the scene, by two tools of the package water-bodies
requirements:
  ScatterFeatureRequirement: {}
inputs:
  scene: Directory
outputs:
  raster: {type: File, outputSource: compute/raster}
steps:
  crop:
    run: ../../../workflows/water-bodies/package.cwl#crop
    scatter: band
    in:
      scene: scene
      band: {default: [green, nir]}
    out: [cropped]
  compute:
    run: ../../../workflows/water-bodies/package.cwl#compute
    in:
      index: {default: ndwi}
      bands: crop/cropped
    out: [raster]
