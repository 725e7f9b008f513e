cwlVersion: v1.2
class: CommandLineTool
id: echo
label: Echo
doc: >-
  Gives back what it is given, after a pause. For tests and demonstrations: it has one input of each kind that OGC API -
  Processes knows.
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
  echoed_object:
    type:
      - "null"
      - string
      - name: QuantityEchoed
        type: record
        fields:
          name: string?
          amount: double?
          unit: string?
    label: Object
    doc: The object that was given.
    outputBinding: {outputEval: $(inputs.object)}
  echoed_image:
    type: File?
    label: Image
    doc: The image that was given. It has no format here, because cwltool 3.3 fails on a format where there is no file.
    outputBinding: {outputEval: $(inputs.image)}
  echoed_array:
    type: int[]?
    label: Array
    doc: The numbers that were given.
    outputBinding: {outputEval: $(inputs.array)}
  echoed_double:
    type: double?
    label: Number
    doc: The number that was given.
    outputBinding: {outputEval: $(inputs.double)}
  echoed_boolean:
    type: boolean?
    label: Boolean
    doc: The truth value that was given.
    outputBinding: {outputEval: $(inputs.boolean)}
  echoed_bbox:
    type:
      - "null"
      - name: BBoxEchoed
        type: record
        fields:
          bbox: double[]
          crs: string?
    label: Bounding box
    doc: The bounding box that was given.
    outputBinding: {outputEval: $(inputs.bbox)}
