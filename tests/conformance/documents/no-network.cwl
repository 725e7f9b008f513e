cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d " "']
inputs: []
outputs: {said: stdout}
stdout: interfaces.txt
