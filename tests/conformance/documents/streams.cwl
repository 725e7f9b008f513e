cwlVersion: v1.2
class: CommandLineTool
baseCommand: [sh, -c, 'cat; echo oh >&2']
inputs:
  text: stdin
outputs:
  out: stdout
  complaints: stderr
stdout: out.txt
stderr: err/complaints.txt
