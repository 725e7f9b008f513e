cwlVersion: v1.2
class: CommandLineTool
id: tool
baseCommand: [run]
requirements:
  DockerRequirement: {dockerPull: docker.io/library/alpine:3}
  ResourceRequirement: {coresMin: 1, coresMax: 1, ramMin: 100, ramMax: 100}
inputs: {number: {type: int, label: Number, doc: A number}}
outputs: {out: {type: stdout, label: Out, doc: Out}}
