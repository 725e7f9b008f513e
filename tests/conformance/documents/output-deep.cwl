cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'printf "{\"made\": "; head -c 300 /dev/zero | tr "\0" "["; head -c 300 /dev/zero | tr "\0" "]"; echo "}"']
inputs: []
outputs: {made: Any}
stdout: cwl.output.json
