cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}}
inputs: {files: 'File[]'}
outputs:
  copies: {type: 'File[]', outputSource: measure/said}
steps:
  measure:
    scatter: file
    in: {file: files}
    out: [said]
    run:
      class: CommandLineTool
      baseCommand: cat
      inputs: {file: {type: File, inputBinding: {}}}
      outputs: {said: stdout}
      stdout: $(inputs.file.nameroot).copy
