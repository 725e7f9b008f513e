cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, InlineJavascriptRequirement: {}}
inputs: {letters: 'string[]', numbers: 'int[]', end: string}
outputs: {pairs: {type: 'string[]', outputSource: pair/made}}
steps:
  pair:
    scatter: [letter, number]
    scatterMethod: flat_crossproduct
    in: {letter: letters, number: numbers, end: end}
    out: [made]
    run:
      class: ExpressionTool
      inputs: {letter: string, number: int, end: string}
      outputs: {made: string}
      expression: '${ return {made: inputs.letter + inputs.number + inputs.end}; }'
