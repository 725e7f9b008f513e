cwlVersion: v1.2
class: CommandLineTool
successCodes: [3, 4]
baseCommand: [sh, -c, 'exit "$0"']
inputs: {code: {type: int, inputBinding: {}}}
outputs: {code: {type: int, outputBinding: {outputEval: $(runtime.exitCode)}}}
