cwlVersion: v1.2
$namespaces:
  earthcode: https://earthcode.esa.int/cwl#
  s: https://schema.org/
s:softwareVersion: 2.1.0
s:keywords: [forms, "<i>kind</i>"]
s:license: https://spdx.org/licenses/Apache-2.0
s:author:
  - class: s:Person
    s:name: "Ada <script>alert(1)</script>"
    s:identifier: "javascript:alert(1)"
class: CommandLineTool
id: every-kind
label: Every kind <script>alert("label")</script>
doc: |
  Has an input of every kind that a form can show.
  "><img src=x onerror=alert(1)> is only text.
requirements:
  InlineJavascriptRequirement: {}
  InitialWorkDirRequirement:
    listing:
      - {entryname: inputs.json, entry: "$(JSON.stringify(inputs))"}
baseCommand: [cat]
arguments: [inputs.json]
hints:
  ResourceRequirement: {coresMin: 1, ramMin: 256}
inputs:
  text: {type: string, label: Text, doc: "A line of text, such as </textarea><script>alert(2)</script>."}
  words: {type: "string?", label: Optional text}
  prose: {type: string, label: Prose, default: "one line\nand another"}
  count: {type: int, label: Count, default: 6, earthcode:schema: {minimum: 1, maximum: 100}}
  depth: {type: "double?", label: Depth, doc: Below the sea's surface., earthcode:schema: {x-ogc-unit: m, minimum: 0}}
  flag: {type: boolean, label: Flag}
  perhaps: {type: "boolean?", label: Perhaps}
  kind: {type: {type: enum, symbols: [fine, coarse, '"><b>']}, label: Kind, default: fine}
  day: {type: "string?", label: Day, earthcode:schema: {format: date}}
  moment: {type: "string?", label: Moment, earthcode:schema: {format: date-time}}
  area:
    type:
      - "null"
      - type: record
        name: BBox
        fields: {bbox: {type: "double[]"}, crs: {type: "string?"}}
    label: Area
  numbers: {type: "double[]?", label: Numbers}
  names: {type: "string[]", label: Names, default: [a, "b c"]}
  bands: {type: ["null", {type: array, items: {type: enum, symbols: [red, green, nir]}}], label: Bands}
  settings:
    type:
      - "null"
      - type: record
        name: settings
        fields: {level: int, label: "string?"}
    label: Settings
  scene: {type: "File?", label: Scene, doc: A picture., format: "https://www.iana.org/assignments/media-types/image/tiff"}
  tables: {type: "File[]?", label: Tables}
  catalog: {type: "Directory?", label: Catalog}
outputs:
  order: {type: stdout, label: The inputs as the tool got them}
stdout: order.json
