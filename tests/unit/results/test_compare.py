"""Outputs of two runs against each other: files of real libraries, tolerances from both sides, hostile bytes."""

from __future__ import annotations

import csv
import json
import socket
import struct
import sys
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import zarr
from netCDF4 import Dataset
from rasterio.transform import Affine

from broker.results.compare import Compared, compare, outputs
from broker.results.confined import Confinement, confinement
from broker.results.verdict import Tolerance, Verdict

IDENTICAL, EQUIVALENT, DIFFERENT = Verdict
pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
VALUES = np.random.default_rng(7).random((700, 900)).astype("float32")


@pytest.fixture(scope="module")
def confined() -> Confinement:
    return confinement(memory=2**30, cpu=20, seconds=60)


class Pair:
    def __init__(self, root: Path, confined: Confinement) -> None:
        self.left, self.right, self.confined = root / "left", root / "right", confined
        self.left.mkdir()
        self.right.mkdir()

    def all(self, tolerance: Tolerance | None = None) -> list[Compared]:
        judge = self.confined.judge
        return compare(outputs(self.left), outputs(self.right), tolerance or Tolerance(), judge)

    def one(self, tolerance: Tolerance | None = None) -> Compared:
        (found,) = self.all(tolerance)
        return found

    def verdict(self, tolerance: Tolerance | None = None) -> Verdict:
        return self.one(tolerance).judgement.verdict


@pytest.fixture
def pair(tmp_path: Path, confined: Confinement) -> Pair:
    return Pair(tmp_path, confined)


def tiff(path: Path, values: Any, *, east: float = 5e5, crs: str = "EPSG:32633", **more: Any) -> None:
    profile = {"width": values.shape[1], "height": values.shape[0], "count": 1, "dtype": values.dtype, "crs": crs}
    with rasterio.open(
        path, "w", driver="GTiff", transform=Affine(10, 0, east, 0, -10, 5e6), **profile, **more
    ) as file:
        file.write(values, 1)


def test_equal_bytes_need_no_library(pair: Pair) -> None:
    (pair.left / "a.bin").write_bytes(b"same")
    (pair.right / "a.bin").write_bytes(b"same")
    found = pair.one()
    assert (found.judgement.verdict, found.by) == (IDENTICAL, "checksum")


def test_outputs_that_only_one_run_has_and_renamed_ones(pair: Pair) -> None:
    (pair.left / "a.txt").write_text("x")
    (pair.left / "run-1.log").write_text("one")
    (pair.right / "run-2.log").write_text("two")
    (pair.right / "b.md").write_text("x and more")
    found = {one.path: one for one in pair.all()}
    assert "Only the first" in found["a.txt"].judgement.sentence
    assert "Only the second" in found["b.md"].judgement.sentence
    assert found["run-1.log"].judgement.notes == ("it is called run-2.log in the second run",)


def test_a_raster_written_in_another_way_is_equivalent(pair: Pair) -> None:
    tiff(pair.left / "x.tif", VALUES)
    tiff(pair.right / "x.tif", VALUES, compress="deflate", tiled=True)
    found = pair.one()
    assert (found.judgement.verdict, found.by) == (EQUIVALENT, "GeoTIFF")
    assert found.judgement.numbers["bands"][0]["maximumDifference"] == 0


@pytest.mark.parametrize(("factor", "verdict"), [(0.9, EQUIVALENT), (1.2, DIFFERENT)])
def test_pixels_on_both_sides_of_the_tolerance(pair: Pair, factor: float, verdict: Verdict) -> None:
    tiff(pair.left / "x.tif", VALUES.astype("float64"))
    changed = VALUES.astype("float64")
    changed[500, 600] += factor * 1e-3
    tiff(pair.right / "x.tif", changed)
    found = pair.one(Tolerance(relative=0, absolute=1e-3)).judgement
    assert found.verdict is verdict
    band = found.numbers["bands"][0]
    assert (band["at"], band["unequal"]) == ([500, 600], 1)
    assert band["maximumDifference"] == pytest.approx(factor * 1e-3)
    assert found.picture is not None
    with rasterio.io.MemoryFile(found.picture) as memory, memory.open() as picture:
        pixels = picture.read()
    assert pixels[:, 250, 300].tolist() == [165, 0, 38]
    assert pixels[:, 0, 0].tolist() == [255, 255, 255]


def test_classes_have_no_relative_tolerance_and_a_share_may_differ(pair: Pair) -> None:
    classes = np.full((100, 100), 10_000_000, "int32")
    tiff(pair.left / "x.tif", classes)
    changed = classes.copy()
    changed[0, :5] += 1
    tiff(pair.right / "x.tif", changed)
    assert pair.verdict(Tolerance(relative=1e-3)) is DIFFERENT
    assert pair.verdict(Tolerance(share=0.0004)) is DIFFERENT
    assert pair.verdict(Tolerance(share=0.0005)) is EQUIVALENT


@pytest.mark.parametrize(
    ("more", "said"),
    [({"crs": "EPSG:32634"}, "reference system"), ({"east": 5e5 + 5}, "grid lies 5")],
)
def test_rasters_on_other_grids_are_not_compared_pixel_by_pixel(pair: Pair, more: Any, said: str) -> None:
    tiff(pair.left / "x.tif", VALUES)
    tiff(pair.right / "x.tif", VALUES, **more)
    found = pair.one().judgement
    assert found.verdict is DIFFERENT
    assert said in found.sentence


def test_what_has_no_data_counts_and_not_how_it_is_said(pair: Pair) -> None:
    one, other = VALUES.copy(), VALUES.copy()
    one[3, 4], other[3, 4] = -9999, np.nan
    tiff(pair.left / "x.tif", one, nodata=-9999)
    tiff(pair.right / "x.tif", other, nodata=float("nan"))
    assert pair.verdict() is EQUIVALENT
    other[5, 5] = np.nan
    tiff(pair.right / "x.tif", other, nodata=float("nan"))
    found = pair.one().judgement
    assert found.verdict is DIFFERENT
    assert found.numbers["bands"][0]["onlyOneHasData"] == 1


def geojson(path: Path, points: list[tuple[str, float]], indent: int | None = None) -> None:
    features = [
        {"type": "Feature", "properties": {"n": n}, "geometry": {"type": "Point", "coordinates": [x, 48.0]}}
        for n, x in points
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}, indent=indent))


@pytest.mark.parametrize(("moved", "verdict"), [(9e-8, EQUIVALENT), (1.2e-7, DIFFERENT)])
def test_features_in_another_order_and_moved_a_little(pair: Pair, moved: float, verdict: Verdict) -> None:
    geojson(pair.left / "x.geojson", [("a", 11.0), ("b", 12.0)])
    geojson(pair.right / "x.geojson", [("b", 12.0 + moved), ("a", 11.0)], indent=1)
    assert pair.verdict() is verdict


@pytest.mark.parametrize(("factor", "verdict"), [(0.9, EQUIVALENT), (1.2, DIFFERENT)])
def test_tables(pair: Pair, factor: float, verdict: Verdict) -> None:
    wkb = [struct.pack("<BIdd", 1, 1, x, 48.0) for x in (11.0, 12.0)]
    moved = [wkb[0], struct.pack("<BIdd", 1, 1, 12.0 + factor * 1e-7, 48.0)]
    for folder, points, value in ((pair.left, wkb, 1.0), (pair.right, moved, 1.0 + factor * 1e-4)):
        table = pa.table({"name": ["a", "b"], "value": [value, 2.0], "geometry": points})
        pq.write_table(table, folder / "x.parquet", compression="none" if folder is pair.left else "zstd")
        with (folder / "x.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["name", "value"], ["a", value], ["b", 2.0]])
    found = pair.all(Tolerance(relative=0, absolute=1e-4))
    assert {one.path: (one.by, one.judgement.verdict) for one in found} == {
        "x.csv": ("CSV", verdict),
        "x.parquet": ("Parquet", verdict),
    }


def test_columns_and_numbers_of_rows(pair: Pair) -> None:
    (pair.left / "x.csv").write_text("a,b\n1,2\n")
    (pair.right / "x.csv").write_text("a,c\n1,2\n")
    assert "b only in the first" in pair.one().judgement.sentence
    (pair.right / "x.csv").write_text("a,b\n1,2\n3,4\n")
    assert pair.one().judgement.sentence == "1 rows against 2."


def netcdf(path: Path, values: Any, *, units: str = "K", history: str = "") -> None:
    with Dataset(path, "w") as file:
        file.createDimension("y", values.shape[0])
        file.createDimension("x", values.shape[1])
        made = file.createVariable("t", "f8", ("y", "x"), zlib=bool(history))
        made.units, file.history = units, history
        made[:] = values


def cube(path: Path, values: Any, *, chunks: tuple[int, int], version: Any) -> None:
    root = zarr.open_group(str(path), mode="w", zarr_format=version)
    made = root.create_array("t", shape=values.shape, chunks=chunks, dtype="f8")
    made[:] = values


@pytest.mark.parametrize(("factor", "verdict"), [(0.9, EQUIVALENT), (1.2, DIFFERENT)])
def test_arrays(pair: Pair, factor: float, verdict: Verdict) -> None:
    values = VALUES.astype("f8")
    changed = values.copy()
    changed[699, 1] += factor * 1e-3
    netcdf(pair.left / "x.nc", values)
    netcdf(pair.right / "x.nc", changed, history="later")
    cube(pair.left / "x.zarr", values, chunks=(100, 100), version=2)
    cube(pair.right / "x.zarr", changed, chunks=(70, 900), version=2)
    found = {one.path: one for one in pair.all(Tolerance(relative=0, absolute=1e-3))}
    assert {path: one.judgement.verdict for path, one in found.items()} == {"x.nc": verdict, "x.zarr": verdict}
    assert [one.judgement.numbers["variables"]["t"]["at"] for one in found.values()] == [[699, 1]] * 2


def test_units_give_values_their_meaning(pair: Pair) -> None:
    netcdf(pair.left / "x.nc", VALUES)
    netcdf(pair.right / "x.nc", VALUES, units="degC")
    assert "units of t" in pair.one().judgement.sentence


def item(path: Path, *, created: str, root: str, cloud: float) -> None:
    asset = {"href": f"{root}/x.tif", "file:checksum": created, "type": "image/tiff"}
    properties = {"datetime": "2025-01-01T00:00:00Z", "created": created, "eo:cloud_cover": cloud}
    links = [{"rel": "self", "href": f"{root}/item.json"}, {"rel": "root", "href": f"{root}/catalog.json"}]
    whole = {"type": "Feature", "stac_version": "1.0.0", "id": "i", "geometry": None, "properties": properties}
    path.write_text(json.dumps({**whole, "links": links, "assets": {"x": asset}}))


@pytest.mark.parametrize(("cloud", "verdict"), [(12.5, EQUIVALENT), (12.6, DIFFERENT)])
def test_stac_without_what_changes_with_every_run(pair: Pair, cloud: float, verdict: Verdict) -> None:
    item(pair.left / "item.json", created="2025-01-01", root=".", cloud=12.5)
    item(pair.right / "item.json", created="2026-01-01", root="https://example.org/jobs/2", cloud=cloud)
    found = pair.one()
    assert (found.by, found.judgement.verdict) == ("STAC", verdict)


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
