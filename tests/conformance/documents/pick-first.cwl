cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}, MultipleInputFeatureRequirement: {}}
inputs: {kind: string, all: boolean}
outputs:
  made: {type: string, outputSource: [optical/made, any/made], pickValue: first_non_null}
steps:
  optical:
    when: $(inputs.kind == "optical")
    in: {kind: kind}
    out: [made]
    run: &say
      class: ExpressionTool
      inputs: {kind: string, other: string?}
      outputs: {made: string}
      expression: "$({made: inputs.kind + (inputs.other || 1)})"
  any:
    when: $(inputs.all)
    in: {kind: kind, all: all, other: {default: "2"}}
    out: [made]
    run: *say
