cwlVersion: v1.2
class: CommandLineTool
requirements:
  SchemaDefRequirement:
    types:
      - {name: sensor, type: enum, symbols: [msi, olci]}
      - name: request
        type: record
        fields:
          - {name: sensor, type: '#sensor', inputBinding: {prefix: --sensor}}
          - {name: bands, type: 'string[]', inputBinding: {prefix: --bands, itemSeparator: ','}}
baseCommand: [printf, '%s\n']
inputs:
  request: {type: '#request', inputBinding: {}}
outputs:
  said: stdout
stdout: said.txt
