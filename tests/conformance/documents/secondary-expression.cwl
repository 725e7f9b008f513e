cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
baseCommand: [sh, -c, 'echo "$1" > a.txt; echo "$2" > a.hdr; mkdir a.d; touch a.d/x', '-']
inputs:
  scene:
    type: File
    secondaryFiles: '$(self.nameroot + ".hdr")'
arguments: ['$(inputs.scene.secondaryFiles[0].basename)', '$(inputs.scene.secondaryFiles.length)']
outputs:
  made:
    type: File
    secondaryFiles: '$([self.nameroot + ".hdr", {class: "Directory", basename: "a.d", path: runtime.outdir + "/a.d"}])'
    outputBinding: {glob: a.txt}
