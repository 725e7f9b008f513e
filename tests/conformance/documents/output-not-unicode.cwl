cwlVersion: v1.2
class: CommandLineTool
requirements:
  InitialWorkDirRequirement:
    listing: [{entryname: cwl.output.json, entry: '{"text": "half \ud800 a pair"}'}]
baseCommand: 'true'
inputs: []
outputs: {text: string}
