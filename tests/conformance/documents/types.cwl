cwlVersion: v1.2
class: ExpressionTool
requirements:
  InlineJavascriptRequirement: {}
inputs:
  kind: {type: {type: enum, symbols: [optical, radar]}}
  area:
    type:
      type: record
      name: area
      fields:
        box: {type: {type: array, items: double}}
        name: string?
        inner: {type: {type: record, name: inner, fields: [{name: deep, type: 'int[]?'}]}}
  matrix: {type: {type: array, items: {type: array, items: int}}}
  either: [int, string, 'File[]']
  maybe: string?
  anything: Any
  day: long
outputs:
  got: Any
expression: '${ return {got: inputs}; }'
