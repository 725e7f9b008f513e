"""Who compares outputs reaches nothing else, and ends at its bounds, whatever the bytes are."""

from __future__ import annotations

import json
import socket
import struct
import sys
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
import rasterio

from broker.errors import SetupError
from broker.results.compare import compare, outputs
from broker.results.confined import Confinement, confinement
from broker.results.verdict import Tolerance, Verdict
from tests.unit.results.pairs import Pair, confined, pair, tiff

__all__ = ["confined", "pair"]  # fixtures
DIFFERENT = Verdict.DIFFERENT
pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
VALUES = np.random.default_rng(7).random((700, 900)).astype("float32")


def test_bytes_that_are_cut_off_or_something_else(pair: Pair) -> None:
    tiff(pair.left / "a.tif", VALUES)
    (pair.right / "a.tif").write_bytes((pair.left / "a.tif").read_bytes()[:100_000])
    tiff(pair.left / "b.tif", VALUES)
    (pair.right / "b.tif").write_text("<html>Not found</html>")
    for found in pair.all():
        assert (found.by, found.judgement.verdict) == ("bytes", DIFFERENT)
        assert found.judgement.sentence.startswith("The bytes differ, and only those were compared: ")


def test_bombs_end_at_their_bounds(pair: Pair) -> None:
    tight = Confinement(pair.confined.bwrap, memory=512 * 2**20, cpu=5, seconds=60)
    nested = "[" * 100_000
    (pair.left / "deep.json").write_text(nested)
    (pair.right / "deep.json").write_text(nested + " ")
    for folder, level in ((pair.left, 1), (pair.right, 9)):
        with rasterio.open(
            folder / "big.tif", "w", driver="GTiff", width=200_000, height=200_000, count=1, dtype="float64",
            tiled=True, sparse_ok=True, bigtiff="yes", nodata=level, compress="deflate",
        ):  # fmt: skip
            pass
        with zipfile.ZipFile(folder / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            meta = {"zarr_format": 2, "shape": [10**9], "chunks": [10**9], "dtype": "<f8", "order": "C"}
            archive.writestr(".zarray", json.dumps({**meta, "compressor": None, "fill_value": level, "filters": None}))
    judge = tight.judge
    found = {one.path: one for one in compare(outputs(pair.left), outputs(pair.right), Tolerance(), judge)}
    assert {(one.by, one.judgement.verdict) for one in found.values()} == {("bytes", DIFFERENT)}
    assert "took more than 5 s of CPU time" in found["big.tif"].judgement.sentence


PROBE = """
import json, os, socket, sys
question = json.load(sys.stdin)
said = []
try:
    said.append(open({secret!r}).read())
except OSError:
    said.append("no file")
try:
    open(question["left"], "ab").close()
    said.append("written")
except OSError:
    said.append("read-only")
said.append("connected" if socket.socket().connect_ex(("127.0.0.1", {port})) == 0 else "no network")
said.append(os.environ.get("CANARY", "no canary"))
print(json.dumps({{"unreadable": ", ".join(said)}}))
"""


@pytest.mark.parametrize("shut_in", [True, False])
def test_who_reads_reaches_nothing_else(
    pair: Pair, confined: Confinement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shut_in: bool
) -> None:
    """Neither other files, nor the network, nor our environment; without bubblewrap the same probe gets further."""
    (tmp_path / "secret").write_text("a secret")
    monkeypatch.setenv("CANARY", "a canary")
    for folder in (pair.left, pair.right):
        (folder / "x.bin").write_text(str(folder))
    with socket.create_server(("127.0.0.1", 0)) as server:
        probe = PROBE.format(secret=str(tmp_path / "secret"), port=server.getsockname()[1])
        monkeypatch.setattr("broker.results.confined.PROGRAM", (sys.executable, "-c", probe))
        pair.confined = confined if shut_in else replace(confined, bwrap=None)
        found = pair.one().judgement.sentence
    reached = "no file, read-only, no network, no canary" if shut_in else "a secret, written, connected, no canary"
    assert reached in found


def test_a_png_that_promises_too_much(pair: Pair) -> None:
    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    for folder, level in ((pair.left, 1), (pair.right, 9)):
        head = part(b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0))
        data = part(b"IDAT", zlib.compress(b"\0" * 1000, level))
        (folder / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + data + part(b"IEND", b""))
    assert (pair.one().by, pair.verdict()) == ("bytes", DIFFERENT)


def test_too_long_and_too_much(pair: Pair) -> None:
    """Each bound by itself; where both are wide enough the same files are read."""
    for folder, number in ((pair.left, 1), (pair.right, 2)):
        (folder / "x.json").write_text(json.dumps([number, *range(100_000)]))
    said = {}
    for name, bounds in {
        "time": replace(pair.confined, seconds=0.05),
        "memory": replace(pair.confined, memory=2**20),
        "wide": pair.confined,
    }.items():
        pair.confined = bounds
        said[name] = pair.one().judgement.sentence
    assert "comparing them took longer than 0.05 s" in said["time"]
    assert "memory" in said["memory"]
    assert said["wide"].startswith("1 of 100,001 values")


def test_files_of_ones_own_need_no_bubblewrap(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(notes: list[str]) -> None:
        notes.append("there is no bwrap here")

    monkeypatch.setattr("broker.results.confined.isolation.working_bwrap", none)
    with pytest.raises(SetupError, match="there is no bwrap here"):
        confinement()
    tiff(pair.left / "x.tif", VALUES)
    tiff(pair.right / "x.tif", VALUES, compress="deflate")
    pair.confined = confinement(own=True)
    assert pair.confined.bwrap is None
    assert (pair.one().by, pair.verdict()) == ("GeoTIFF", Verdict.EQUIVALENT)


@pytest.mark.parametrize(
    "said",
    [
        "nothing",
        "{}",
        '{"by": 1}',
        '{"by": "x", "verdict": "best", "sentence": "x"}',
        '{"by": "x", "verdict": "identical", "sentence": "x", "picture": "no base64"}',
        '{"unreadable": "\\ud800"}',
        '{"by": "x", "verdict": "identical", "sentence": "x", "numbers": {"n": NaN}}',
    ],
)
def test_a_reader_that_was_taken_over_is_not_believed(pair: Pair, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    for folder in (pair.left, pair.right):
        (folder / "x.bin").write_text(str(folder))
    monkeypatch.setattr("broker.results.confined.PROGRAM", (sys.executable, "-c", f"print({said!r})"))
    found = pair.one()
    assert (found.by, found.judgement.verdict) == ("bytes", DIFFERENT)
    assert orjson.dumps(found.to_json())
