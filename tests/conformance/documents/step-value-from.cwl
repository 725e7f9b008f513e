cwlVersion: v1.2
class: Workflow
requirements: {StepInputExpressionRequirement: {}, InlineJavascriptRequirement: {}, MultipleInputFeatureRequirement: {}, ScatterFeatureRequirement: {}}
inputs: {names: 'string[]', scene: File, numbers: 'int[]'}
outputs:
  made: {type: 'string[]', outputSource: join/made}
steps:
  join:
    scatter: name
    in:
      name: {source: names, valueFrom: $(self + "!")}
      stem: {source: scene, valueFrom: $(self.nameroot)}
      sum: {source: numbers, valueFrom: '$(self.reduce(function (a, b) { return a + b; }))'}
      constant: {valueFrom: $("c" + inputs.extra.length)}
      extra: {default: [1, 2, 3]}
    out: [made]
    run:
      class: ExpressionTool
      inputs: {name: string, stem: string, sum: int, constant: string}
      outputs: {made: string}
      expression: '${ return {made: [inputs.name, inputs.stem, inputs.sum, inputs.constant].join(" ")}; }'
