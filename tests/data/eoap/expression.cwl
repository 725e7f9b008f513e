cwlVersion: v1.2
$namespaces: {schema: https://schema.org/}
schema:softwareVersion: ''
$graph:
  - class: Workflow
    id: only-expressions
    label: Only expressions
    doc: Runs no tool.
    requirements: {InlineJavascriptRequirement: {}}
    inputs: {number: {type: int, label: Number, doc: A number}}
    outputs: {number: {type: int, label: Number, doc: The same, outputSource: one/number}}
    steps:
      one: {label: One, doc: One, run: '#same', in: {number: number}, out: [number]}
  - class: ExpressionTool
    id: same
    inputs: {number: int}
    outputs: {number: int}
    expression: '${ return {"number": inputs.number}; }'
