cwlVersion: v1.2
class: ExpressionTool
requirements:
  InlineJavascriptRequirement: {}
inputs:
  never: {type: boolean, default: false}
  zero: {type: int, default: 0}
  none: {type: float, default: 0.0}
  empty: {type: string, default: ''}
  list: {type: 'string[]', default: []}
  nothing: {type: int?, default: null}
  given: {type: int, default: 5}
  taken: {type: boolean, default: true}
outputs:
  got: Any
expression: '${ return {got: inputs}; }'
