cwlVersion: v1.2
class: Workflow
requirements: {SubworkflowFeatureRequirement: {}, InlineJavascriptRequirement: {}, ScatterFeatureRequirement: {}}
inputs: {numbers: 'int[]'}
outputs: {made: {type: 'int[]', outputSource: twice/made}}
steps:
  twice:
    scatter: number
    in: {number: numbers}
    out: [made]
    run:
      class: Workflow
      inputs: {number: int}
      outputs: {made: {type: int, outputSource: second/made}}
      steps:
        first:
          in: {number: number}
          out: [made]
          run: &add
            class: ExpressionTool
            inputs: {number: int}
            outputs: {made: int}
            expression: '${ return {made: inputs.number + 1}; }'
        second:
          in: {number: first/made}
          out: [made]
          run: *add
