cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'mkdir made; ln -s ../../../../etc made/etc']
inputs: []
outputs: {made: {type: Directory, outputBinding: {glob: made}}}
