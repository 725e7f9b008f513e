cwlVersion: v1.1
class: Workflow
requirements: {InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
inputs: {text: string, tree: {type: Directory, loadListing: shallow_listing}}
outputs: {said: {type: File, outputSource: say/said}}
steps:
  say:
    in: {text: text, count: {source: tree, valueFrom: $(self.listing.length)}}
    out: [said]
    run:
      class: CommandLineTool
      requirements: {WorkReuse: {enableReuse: false}, ToolTimeLimit: {timelimit: 60}}
      baseCommand: [printf, '%s\n']
      inputs: {text: {type: string, inputBinding: {}}, count: {type: int, inputBinding: {position: 1}}}
      outputs: {said: stdout}
      stdout: said.txt
