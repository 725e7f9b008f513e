cwlVersion: v1.2
class: CommandLineTool
requirements:
  InitialWorkDirRequirement:
    listing:
      - {entry: $(inputs.scene), entryname: mine.txt, writable: true}
      - {entry: $(inputs.tree), writable: true}
baseCommand: [sh, -c, 'echo more >> mine.txt; echo new > tree/new.txt; rm tree/old.txt; cat "$0"']
inputs:
  scene: {type: File, inputBinding: {}}
  tree: Directory
outputs:
  mine: {type: File, outputBinding: {glob: mine.txt}}
  tree: {type: Directory, outputBinding: {glob: tree}}
  said: stdout
stdout: said.txt
