cwlVersion: v1.2
class: Workflow
id: other-file
label: Other file
doc: Runs a tool that is another file.
requirements:
  SchemaDefRequirement: {types: [{$import: types.yaml}]}
inputs: {number: {type: int, label: Number, doc: A number}}
outputs: {out: {type: File, label: Out, doc: Out, outputSource: one/out}}
steps:
  one: {label: One, doc: One, run: tool.cwl, in: {number: number}, out: [out]}
