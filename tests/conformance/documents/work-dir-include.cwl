cwlVersion: v1.2
class: CommandLineTool
requirements:
  InitialWorkDirRequirement:
    listing:
      - {entryname: run.sh, entry: {$include: parts/run.sh}}
baseCommand: [sh, run.sh]
inputs:
  name: {type: string, inputBinding: {}}
outputs:
  said: stdout
stdout: said.txt
