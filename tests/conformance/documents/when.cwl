cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}, ScatterFeatureRequirement: {}}
inputs: {numbers: 'int[]', go: boolean}
outputs:
  even: {type: {type: array, items: ['null', int]}, outputSource: halve/made}
  skipped: {type: int?, outputSource: never/made}
  kept: {type: 'int[]', outputSource: halve/made, pickValue: all_non_null}
steps:
  halve:
    when: $(inputs.number % 2 == 0)
    scatter: number
    in: {number: numbers}
    out: [made]
    run: &halve
      class: ExpressionTool
      inputs: {number: int}
      outputs: {made: int}
      expression: '${ return {made: inputs.number / 2}; }'
  never:
    when: $(inputs.go)
    in: {number: {default: 8}, go: go}
    out: [made]
    run: *halve
