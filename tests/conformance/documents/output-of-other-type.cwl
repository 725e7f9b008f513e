cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'echo "{\"made\": \"text\"}" > cwl.output.json']
inputs: []
outputs: {made: int}
