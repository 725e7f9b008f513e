cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'cat "$0" "$0.idx" "${0%.*}.meta" > made.tif; echo i > made.tif.idx; echo m > made.meta']
inputs:
  scene:
    type: File
    secondaryFiles: [.idx, ^.meta, {pattern: .absent, required: false}]
    inputBinding: {}
outputs:
  made:
    type: File
    secondaryFiles: [.idx, ^.meta, .absent?]
    outputBinding: {glob: made.tif}
