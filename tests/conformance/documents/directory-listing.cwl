cwlVersion: v1.2
class: CommandLineTool
baseCommand: [printf, '%s\n']
inputs:
  none: Directory
  shallow: {type: Directory, loadListing: shallow_listing}
  deep: {type: Directory, loadListing: deep_listing}
requirements:
  InlineJavascriptRequirement:
    expressionLib:
      - |
        function names(d) {
          if (d.listing === undefined) { return "?"; }
          return d.listing.map(function (f) {
            return f.basename + (f.class == "Directory" ? "(" + names(f) + ")" : "");
          }).sort().join(",");
        }
arguments: [$(names(inputs.none)), $(names(inputs.shallow)), $(names(inputs.deep))]
outputs:
  said: stdout
stdout: said.txt
