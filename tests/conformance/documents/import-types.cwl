cwlVersion: v1.2
class: ExpressionTool
requirements:
  InlineJavascriptRequirement: {}
  SchemaDefRequirement:
    types: [{$import: parts/types.yml}]
inputs:
  area: parts/types.yml#box
  areas: {type: {type: array, items: parts/types.yml#box}}
outputs:
  width: double
  areas: {type: {type: array, items: parts/types.yml#box}}
expression: '${ return {width: inputs.area.east - inputs.area.west, areas: inputs.areas}; }'
