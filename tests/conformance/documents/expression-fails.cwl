cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs: {scene: Any}
outputs: {made: string}
expression: '${ return {made: inputs.scene.assets.b04.href}; }'
