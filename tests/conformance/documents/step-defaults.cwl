cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}}
inputs: {given: int?, unset: {type: int, default: 4}}
outputs:
  made: {type: Any, outputSource: add/made}
steps:
  add:
    in:
      a: {source: given, default: 10}
      b: unset
      c: {default: false}
    out: [made]
    run:
      class: ExpressionTool
      inputs: {a: {type: int, default: 1}, b: {type: int, default: 2}, c: {type: boolean, default: true}, d: {type: int, default: 3}}
      outputs: {made: Any}
      expression: '${ return {made: [inputs.a, inputs.b, inputs.c, inputs.d]}; }'
