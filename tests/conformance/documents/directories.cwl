cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'mkdir -p made/deep made/empty; cp "$0"/*.txt made/deep; cat "$0"/sub/* > made/all.txt']
inputs:
  given: {type: Directory, inputBinding: {}}
outputs:
  made: {type: Directory, outputBinding: {glob: made}}
