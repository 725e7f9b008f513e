cwlVersion: v1.2
class: CommandLineTool
requirements:
  DockerRequirement: {dockerPull: 'localhost/earthcode-broker-test:1'}
  NetworkAccess: {networkAccess: true}
baseCommand: [sh, -c, 'while read name rest; do case $name in lo:) ;; *:) echo network ;; esac; done < /proc/net/dev']
inputs: []
outputs: {said: stdout}
stdout: said.txt
