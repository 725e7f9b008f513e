cwlVersion: v1.2
class: Workflow
inputs: []
outputs: {made: {type: File, outputSource: second/made}}
steps:
  first:
    in: {}
    out: [made]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo made > made.txt; echo the scene is empty >&2; exit 4']
      inputs: []
      outputs: {made: {type: File, outputBinding: {glob: made.txt}}}
  second:
    in: {made: first/made}
    out: [made]
    run:
      class: CommandLineTool
      baseCommand: cat
      inputs: {made: {type: File, inputBinding: {}}}
      outputs: {made: stdout}
