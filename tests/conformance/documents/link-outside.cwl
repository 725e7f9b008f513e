cwlVersion: v1.2
class: CommandLineTool
baseCommand: [ln, -s, /etc/passwd, made.txt]
inputs: []
outputs: {made: {type: File, outputBinding: {glob: made.txt}}}
