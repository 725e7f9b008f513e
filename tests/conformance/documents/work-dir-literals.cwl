cwlVersion: v1.2
class: CommandLineTool
requirements:
  InitialWorkDirRequirement:
    listing:
      - {entryname: plain.txt, entry: 'name is $(inputs.name)'}
      - {entryname: 'sub dir/$(inputs.name).json', entry: '$(inputs.settings)'}
      - entryname: price.txt
        entry: 'costs \$(5) and $(inputs.settings.n)'
baseCommand: [sh, -c, 'cat plain.txt; echo; cat "sub dir"/*.json; echo; cat price.txt']
inputs:
  name: string
  settings: Any
outputs:
  said: stdout
stdout: said.txt
