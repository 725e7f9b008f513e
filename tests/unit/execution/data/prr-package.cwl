cwlVersion: v1.2
class: CommandLineTool
id: prr-package
doc: Sends the files of an item to a staging bucket, and registers it, as reg-api's own client does.
requirements:
  NetworkAccess: {networkAccess: true}
  InitialWorkDirRequirement:
    listing:
      - entryname: publish.py
        entry: |
          import base64, datetime, hashlib, hmac, json, pathlib, sys, urllib.request

          product, collection, credentials = map(pathlib.Path, sys.argv[1:4])
          known = json.loads(credentials.read_text())
          user, password = known["username"], known["password"]
          item = json.loads((product / "item.json").read_text())

          def send(method, url, body, **headers):
              asked = urllib.request.Request(url, body, headers, method=method)
              with urllib.request.urlopen(asked) as answer:
                  return answer.read()

          def put(path, body):
              now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
              place, host, digest = "{S3}" + path, "{S3}".split("//")[1], hashlib.sha256(body).hexdigest()
              headers = {"host": host, "x-amz-content-sha256": digest, "x-amz-date": now}
              lines = "".join("%s:%s\n" % pair for pair in headers.items())
              names, scope = ";".join(headers), "%s/us-east-1/s3/aws4_request" % now[:8]
              canonical = "\n".join(["PUT", path, "", lines, names, digest])
              text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
              key = ("AWS4" + password).encode()
              for part in [*scope.split("/"), text]:
                  key = hmac.new(key, part.encode(), hashlib.sha256).digest()
              signed = "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=%s,Signature=%s"
              headers["Authorization"] = signed % (user, scope, names, key.hex())
              send("PUT", place, body, **headers)

          for asset in item["assets"].values():
              staged = "%s/%s/%s" % (collection, item["id"], asset["href"])
              put("/sg-%s-generic/%s" % (user, staged), (product / asset["href"]).read_bytes())
              asset["href"] = staged
          login = base64.b64encode(("%s:%s" % (user, password)).encode()).decode()
          send("POST", "{REG_API}/collections/%s/items" % collection, json.dumps(item).encode(),
               **{"Authorization": "Basic " + login, "Content-Type": "application/json"})
baseCommand: [python3, publish.py]
inputs:
  product: {type: Directory, inputBinding: {position: 1}}
  collection: {type: string, inputBinding: {position: 2}}
  credentials: {type: File, inputBinding: {position: 3}}
outputs: []
