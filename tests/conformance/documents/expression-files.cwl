cwlVersion: v1.2
class: ExpressionTool
requirements: {InlineJavascriptRequirement: {}}
inputs:
  table: {type: File, loadContents: true}
outputs:
  rows: int
  made: File
  tree: Directory
  same: File
expression: |
  ${
    var lines = inputs.table.contents.split("\n").filter(function (line) { return line; });
    return {
      rows: lines.length,
      made: {class: "File", basename: "last.txt", contents: lines[lines.length - 1]},
      tree: {class: "Directory", basename: "tree", listing: [inputs.table, {class: "Directory", basename: "empty", listing: []}]},
      same: inputs.table
    };
  }
