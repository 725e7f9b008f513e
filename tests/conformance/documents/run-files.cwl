cwlVersion: v1.2
class: Workflow
inputs: {text: string}
outputs: {said: {type: File, outputSource: second/said}}
steps:
  first: {run: parts/say.cwl, in: {text: text}, out: [said]}
  second: {run: 'parts/tools.cwl#copy', in: {file: first/said}, out: [said]}
