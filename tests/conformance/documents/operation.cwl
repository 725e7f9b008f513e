cwlVersion: v1.2
class: Operation
inputs: {scene: File}
outputs: {mask: File}
