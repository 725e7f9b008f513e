cwlVersion: v1.2
class: Workflow
requirements: {MultipleInputFeatureRequirement: {}, InlineJavascriptRequirement: {}}
inputs: {one: 'int[]', two: 'int[]', single: int, none: int?}
outputs:
  nested: {type: Any, outputSource: both/nested}
  flat: {type: 'int[]', outputSource: [one, single], linkMerge: merge_flattened}
  present: {type: Any, outputSource: [none, single], pickValue: all_non_null}
steps:
  both:
    in:
      nested: {source: [one, two], linkMerge: merge_nested}
    out: [nested]
    run:
      class: ExpressionTool
      inputs: {nested: {type: {type: array, items: {type: array, items: int}}}}
      outputs: {nested: Any}
      expression: '${ return {nested: inputs.nested}; }'
