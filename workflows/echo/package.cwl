cwlVersion: v1.2
class: CommandLineTool
id: echo
label: Echo
doc: >-
  Gives back the message that it is given, after a pause. For tests and demonstrations: it takes, and checks, one input
  of each kind that OGC API - Processes knows.
$namespaces:
  s: https://schema.org/
s:softwareVersion: 1.0.0

# The order of the inputs is part of the contract (README.md): the string first, object and image before bounding box.
inputs:
  message:
    type: string
    label: Message
    doc: The text to give back.
  object:
    type:
      - "null"
      - string
      - name: Quantity
        type: record
        fields:
          name: string?
          amount: double?
          unit: string?
    label: Object
    doc: 'A named quantity such as {"name": "depth", "amount": 4.5, "unit": "m"}, or a text.'
  image:
    type: File?
    format: https://www.iana.org/assignments/media-types/image/tiff
    label: Image
    doc: A TIFF image, by value (base64) or by reference.
  array:
    type: int[]?
    label: Array
    doc: Any number of integers.
  double:
    type: double?
    label: Number
    doc: Any number.
  boolean:
    type: boolean?
    label: Boolean
    doc: True or false.
  bbox:
    type:
      - "null"
      - name: BBox
        type: record
        fields:
          bbox: double[]
          crs: string?
    label: Bounding box
    doc: Four or six numbers in the axis order of the coordinate reference system, CRS84 when none is given.
  pause:
    type: int
    default: 0
    label: Pause
    doc: Seconds to wait before the answer.
    inputBinding: {position: 1}

baseCommand: sleep
requirements:
  ResourceRequirement: {coresMin: 1, coresMax: 1, ramMin: 16, ramMax: 64}

outputs:
  message:
    type: string
    label: Message
    doc: The text that was given.
    outputBinding: {outputEval: $(inputs.message)}
