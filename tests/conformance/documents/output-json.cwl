cwlVersion: v1.2
class: CommandLineTool
requirements:
  InitialWorkDirRequirement:
    listing:
      - entryname: cwl.output.json
        entry: |
          {"number": 7, "nothing": null, "nested": [[1], []], "scene": {"class": "File", "path": "a.txt"},
           "large": 1000000000000000000000000000000, "text": "é"}
baseCommand: [sh, -c, 'echo a > a.txt']
inputs: []
outputs:
  number: int
  nothing: string?
  nested: {type: {type: array, items: {type: array, items: int}}}
  scene: File
  large: double
  text: string
