cwlVersion: v1.2
class: CommandLineTool
requirements:
  InlineJavascriptRequirement: {}
  InitialWorkDirRequirement:
    listing: |
      ${
        return inputs.words.map(function (word, number) {
          return {entryname: word + "/" + number + ".txt", entry: "the " + word};
        });
      }
baseCommand: [sh, -c, 'for file in */*; do echo "$file: $(cat "$file")"; done']
inputs: {words: 'string[]'}
outputs:
  said: stdout
stdout: said.log
