# What the suites of OGC deploy, and a process like echo with an output of mixed type.
cwlVersion: v1.2
$graph:
  - class: Workflow
    id: mixed
    label: Echo with a mixed output
    doc: Gives back its message; for the test suites of OGC.
    inputs:
      message: {type: string, label: Message, doc: The text to give back.}
      object:
        type:
          - "null"
          - string
          - name: Quantity
            type: record
            fields: {name: string?, amount: double?}
        label: Object
        doc: A quantity or a text.
      image: {type: File?, format: https://www.iana.org/assignments/media-types/image/tiff, label: Image, doc: A picture.}
      array: {type: "int[]?", label: Array, doc: Any number of integers.}
      bbox:
        type:
          - "null"
          - name: BBox
            type: record
            fields: {bbox: "double[]", crs: string?}
        label: Bounding box
        doc: Four or six numbers.
      pause: {type: int, default: 0, label: Pause, doc: Seconds to wait before the answer.}
    outputs:
      message: {type: string, outputSource: wait/message}
      either: {type: ["null", string, int], outputSource: wait/either}
    steps:
      wait:
        run: "#tool"
        in: {message: message, pause: pause}
        out: [message, either]
  - class: CommandLineTool
    id: tool
    baseCommand: sleep
    inputs:
      message: string
      pause: {type: int, inputBinding: {position: 1}}
    outputs:
      message: {type: string, outputBinding: {outputEval: $(inputs.message)}}
      either: {type: ["null", string, int], outputBinding: {outputEval: $(inputs.pause)}}
s:softwareVersion: 1.0.0
$namespaces: {s: https://schema.org/}
