cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'cat "$0"; mv "made" "ö #1 50%?.txt"; ls']
requirements:
  InitialWorkDirRequirement:
    listing: [{entryname: made, entry: made, writable: true}]
inputs:
  odd: {type: File, inputBinding: {}}
outputs:
  said: stdout
  made: {type: File, outputBinding: {glob: '*.txt'}}
stdout: said.log
