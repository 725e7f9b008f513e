cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'mkdir made; touch "made/$(printf "a\377")"']
inputs: []
outputs: {made: {type: Directory, outputBinding: {glob: made}}}
