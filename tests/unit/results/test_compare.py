"""Outputs of two runs against each other: files of real libraries, tolerances from both sides, hostile bytes."""

from __future__ import annotations

import csv
import hashlib
import json
import struct
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from netCDF4 import Dataset

from broker.results.compare import report
from broker.results.verdict import Tolerance, Verdict
from tests.unit.results.pairs import Pair, confined, cube, pair, tiff

__all__ = ["confined", "pair"]  # fixtures

IDENTICAL, EQUIVALENT, DIFFERENT = Verdict
pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
VALUES = np.random.default_rng(7).random((700, 900)).astype("float32")


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


def test_every_band_counts(pair: Pair) -> None:
    bands = np.stack([VALUES, VALUES + 1, VALUES + 2])
    tiff(pair.left / "x.tif", bands)
    bands[1, 7, 8] += 0.5
    tiff(pair.right / "x.tif", bands)
    found = pair.one().judgement
    assert found.verdict is DIFFERENT
    assert [band["outsideTolerance"] for band in found.numbers["bands"]] == [0, 1, 0]
    assert found.sentence.startswith("1 of 1,890,000 pixels")
    tiff(pair.right / "x.tif", bands[:2])
    assert "3 bands against 2" in pair.one().judgement.sentence


def test_photographs(pair: Pair) -> None:
    """JPEG: how far apart two qualities are is a matter of the tolerance."""
    shades = (np.add.outer(np.arange(60), np.arange(80)) % 256).astype("uint8")
    for folder, quality in ((pair.left, 95), (pair.right, 60)):
        tiff(folder / "x.jpg", shades, driver="JPEG", quality=quality)
    found = pair.one(Tolerance(absolute=50))
    assert (found.by, found.judgement.verdict) == ("a picture", EQUIVALENT)
    assert pair.verdict() is DIFFERENT


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


@pytest.mark.parametrize(("factor", "verdict"), [(0.9, EQUIVALENT), (1.2, DIFFERENT)])
@pytest.mark.parametrize("version", [2, 3])
def test_arrays(pair: Pair, factor: float, verdict: Verdict, version: int) -> None:
    values = VALUES.astype("f8")
    changed = values.copy()
    changed[699, 1] += factor * 1e-3
    netcdf(pair.left / "x.nc", values)
    netcdf(pair.right / "x.nc", changed, history="later")
    cube(pair.left / "x.zarr", values, chunks=(100, 100), version=version)
    cube(pair.right / "x.zarr", changed, chunks=(70, 900), version=version)
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


def test_a_store_of_another_version_holds_the_same(pair: Pair) -> None:
    for folder, version in ((pair.left, 2), (pair.right, 3)):
        cube(folder / "x.zarr", VALUES.astype("f8"), chunks=(350, 900), version=version)
    assert pair.verdict() is EQUIVALENT


def test_text_and_numbers_that_no_database_keeps(pair: Pair) -> None:
    """Half of a character as a name, and numbers that JSON does not know."""
    (pair.left / "x.json").write_text('{"\\ud800": NaN, "n": 1e400}')
    (pair.right / "x.json").write_text('{"\\ud800": 1, "n": 2}')
    found = pair.one()
    assert (found.by, found.judgement.verdict) == ("JSON", DIFFERENT)
    assert orjson.dumps(found.to_json())


def test_the_report(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    tiff(pair.left / "x.tif", VALUES)
    tiff(pair.right / "x.tif", VALUES + 1)
    (pair.left / "a.txt").write_text("x")
    (pair.right / "a.txt").write_text("x")
    full = report(pair.all(), "one", "other", Tolerance())
    assert (full["verdict"], full["counts"]) == ("different", {"identical": 1, "equivalent": 0, "different": 1})
    assert full["sentence"] == "Of 2 outputs: 1 identical, 1 different."
    assert (full["left"], full["right"], full["tolerance"]) == ("one", "other", Tolerance().to_json())
    text, raster = full["outputs"]
    assert text["left"] == text["right"] == {"sha256": hashlib.sha256(b"x").hexdigest(), "size": 1}
    assert b64decode(raster["picture"]).startswith(b"\x89PNG")
    monkeypatch.setattr(
        "broker.results.compare.MOST_DETAIL", sum(len(json.dumps(raster[one])) for one in ("numbers", "picture")) - 1
    )
    _, bounded = report(pair.all(), "one", "other", Tolerance())["outputs"]
    assert bounded["numbers"] == raster["numbers"]
    assert "picture" not in bounded
    assert bounded["notes"] == ["the picture would have made the report too large"]
    assert report([], "one", "other", Tolerance())["sentence"] == "There are no outputs to compare."
