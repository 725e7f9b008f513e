"""A large publication does not stay in the publisher: 10 GB with BROKER_TEST_ABUSE=full, else less."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict

import pytest

from tests.peers.prr import HOLDING, prr_peer

MOST_MB = 100
CHILD = """
import hashlib, json, sys
from broker.egress import Egress
from broker.results.prr import Place, Prr
from broker.results.target import File, done
from broker.storage.signing import S3Account

place, size = json.loads(sys.argv[1]), int(sys.argv[2])
place["account"] = S3Account(**place["account"])
CHUNK = b"x" * 1024 * 1024

class Made:
    def open(self, source):
        return (CHUNK for _ in range(size // len(CHUNK)))
    def progress(self, count):
        pass

digest = hashlib.sha256()
for chunk in Made().open(""):
    digest.update(chunk)
file = File("big.tif", "big.tif", size, digest.hexdigest(), "image/tiff")
properties = {"start_datetime": "2026-01-01T00:00:00Z", "end_datetime": "2026-01-01T00:00:00Z"}
item = {"type": "Feature", "stac_version": "1.0.0", "id": "big", "geometry": None,
        "properties": properties, "links": [], "stac_extensions": ["https://stac-extensions.github.io/file/v2.1.0/schema.json"],
        "assets": {"big": {"href": "big.tif", "type": "image/tiff", "roles": ["data"]}}}
target, receipt = Prr(Egress(), Place(**place)), None
plan = target.plan([{"item": item, "files": {"big.tif": file.to_json()}}])
while not done(receipt):
    receipt = target.step(plan, receipt, Made())
# not ru_maxrss, which begins with that of the process that forked this one
print(next(int(line.split()[1]) / 1000 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.timeout(1200)
def test_a_large_file_is_streamed() -> None:
    size = (10_000 if os.environ.get("BROKER_TEST_ABUSE") == "full" else 400) * 1024 * 1024
    with prr_peer() as prr:
        prr.collection("lakes")
        place = json.dumps(asdict(prr.place("lakes")))
        child = subprocess.run(
            [sys.executable, "-c", CHILD, place, str(size)], capture_output=True, text=True, check=False
        )
        assert child.returncode == 0, child.stderr
        head = prr.client.head_object(Bucket=HOLDING, Key="lakes/2026/01/01/big/big.tif")
        assert head["ContentLength"] == size
    print(f"{size / 1e9:.1f} GB published with {float(child.stdout):.0f} MB of memory in all")
    assert float(child.stdout) < MOST_MB
