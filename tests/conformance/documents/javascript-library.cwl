cwlVersion: v1.2
class: ExpressionTool
requirements:
  InlineJavascriptRequirement:
    expressionLib: [{$include: parts/colour.js}]
inputs:
  index: float
outputs:
  colour: string
expression: '${ return {colour: colour(inputs.index)}; }'
