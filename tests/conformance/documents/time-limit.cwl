cwlVersion: v1.2
class: CommandLineTool
requirements: {ToolTimeLimit: {timelimit: $(inputs.seconds)}}
baseCommand: [sleep, '60']
inputs: {seconds: int}
outputs: []
