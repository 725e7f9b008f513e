cwlVersion: v1.2
class: CommandLineTool
$namespaces: {edam: 'http://edamontology.org/'}
baseCommand: 'true'
inputs:
  scenes: {type: 'File[]', format: edam:format_3591}
outputs: []
