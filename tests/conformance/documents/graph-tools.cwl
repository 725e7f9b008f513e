cwlVersion: v1.2
$graph:
  - {id: upper, class: CommandLineTool, baseCommand: [echo, UPPER], inputs: [], outputs: {said: stdout}, stdout: said.txt}
  - {id: lower, class: CommandLineTool, baseCommand: [echo, lower], inputs: [], outputs: {said: stdout}, stdout: said.txt}
