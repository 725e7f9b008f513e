cwlVersion: v1.2
class: CommandLineTool
requirements: {'acme:Teleport': {to: Mars}}
$namespaces: {acme: 'https://example.org/acme#'}
baseCommand: 'true'
inputs: []
outputs: []
