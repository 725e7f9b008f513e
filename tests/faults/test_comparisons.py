"""Comparisons by a whole broker: what strangers made is read in processes that end with it, and in no other."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest

from tests.peers.broker import broker_peer, descendants, wait_for
from tests.unit.results.pairs import tiff

WRITE = """cwlVersion: v1.2
class: CommandLineTool
id: write
baseCommand: [sh, -c, 'echo "$0" | base64 -d']
inputs:
  text: {type: string, inputBinding: {position: 1}}
stdout: x.tif
outputs:
  raster: stdout
"""
READERS = ("rasterio", "pyarrow", "netCDF4", "zarr", "numpy", "libgdal", "libhdf5")

pytestmark = pytest.mark.xdist_group("broker")


def test_no_process_of_the_broker_loads_what_reads_rasters(tmp_path: Path) -> None:
    values = np.arange(64, dtype="uint8").reshape(8, 8)
    jobs = []
    with broker_peer(tmp_path / "state") as peer:
        process = peer.deploy(WRITE)
        for number in range(2):
            tiff(tmp_path / "x.tif", values + number)
            jobs.append(peer.execute(process, {"text": b64encode((tmp_path / "x.tif").read_bytes()).decode()}))
        asked = peer.post(f"/jobs/{jobs[1]}/comparisons", json={"with": jobs[0], "tolerance": {"absolute": 1}})
        assert asked.status_code == 201, asked.text
        where = f"/jobs/{jobs[1]}/comparison"
        wait_for(lambda: peer.get(where).json()["state"] in ("done", "failed"), 90, lambda: peer.get(where).text)
        found = peer.get(where).json()
        assert [(one["by"], one["verdict"]) for one in found["report"]["outputs"]] == [("GeoTIFF", "equivalent")]
        assert peer.process is not None
        pids = [peer.process.pid, *descendants(peer.process.pid)]
        loaded = {pid: [one for one in READERS if one in Path(f"/proc/{pid}/maps").read_text()] for pid in pids}
        assert len(pids) > 5
        assert {pid: names for pid, names in loaded.items() if names} == {}
        assert list((peer.state / "comparisons").iterdir()) == []
