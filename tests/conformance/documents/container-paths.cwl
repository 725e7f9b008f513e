cwlVersion: v1.2
class: CommandLineTool
requirements:
  DockerRequirement: {dockerPull: 'localhost/earthcode-broker-test:1', dockerOutputDirectory: /results}
  InitialWorkDirRequirement:
    listing: [{entryname: /settings/a.txt, entry: configured}]
baseCommand: [sh, -c, 'cat /settings/a.txt; pwd; ls /etc/made-for-tests']
inputs: []
outputs:
  said: stdout
stdout: said.txt
