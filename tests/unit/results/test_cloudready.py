"""What is warned of before data is published; the heads are read by the real reader."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import rasterio
from rasterio.io import MemoryFile
from rasterio.transform import Affine

from broker.results.cloudready import of_tiff, of_zarr, warnings
from broker.results.stac import Run, items
from broker.results.target import File
from broker.runner.look import facts

INTERVAL = {"interval": ["2026-01-01T00:00:00Z", "2026-01-31T23:59:59Z"]}
PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"


class Held:
    """Files in memory, in chunks; `read` counts the bytes that were asked for."""

    def __init__(self, data: dict[str, bytes]) -> None:
        self.data, self.read = data, 0

    def open(self, source: str) -> Iterator[bytes]:
        for at in range(0, len(self.data[source]), 65536):
            self.read += 65536
            yield self.data[source][at : at + 65536]

    def progress(self, count: int) -> None:
        """Nobody watches."""


def raster(driver: str, size: int = 1200, **more: Any) -> bytes:
    profile = {"width": size, "height": size, "count": 1, "dtype": "uint8", "driver": driver, **more}
    with MemoryFile() as held:
        with held.open(**profile) as one:
            one.write(np.random.default_rng(1).integers(0, 255, (1, size, size), dtype="uint8"))
        data: bytes = held.read()
    return data


def said(**data: bytes) -> tuple[dict[str, Any], list[str], Held]:
    held = Held({path.replace("__", "."): raw for path, raw in data.items()})
    outputs = [File(path, path, len(raw), hashlib.sha256(raw).hexdigest()) for path, raw in held.data.items()]
    [planned] = items(Run("p", "j", "2026-11-22T10:00:00Z"), outputs, {}, INTERVAL).items
    found = warnings(planned, held, facts)
    assert {finding.level for finding in found} <= {"warning"}
    return planned["item"], [f"{finding.field}: {finding.message}" for finding in found], held


def test_of_a_good_raster_nothing_is_said_and_its_projection_is_known() -> None:
    grid = {"crs": "EPSG:32719", "transform": Affine(10, 0, 600000, 0, -10, 4700020), "nodata": 255}
    item, found, held = said(a__tif=raster("COG", 3000, **grid))
    assert found == []
    asset = item["assets"]["a"]
    assert (asset["proj:code"], asset["proj:shape"]) == ("EPSG:32719", [3000, 3000])
    assert asset["proj:transform"] == [10.0, 0.0, 600000.0, 0.0, -10.0, 4700020.0]
    assert PROJECTION in item["stac_extensions"]
    assert held.read == 256 * 1024 < len(held.data["a.tif"])


def test_of_a_bad_raster_everything_is_said() -> None:
    with rasterio.Env():
        import warnings as python

        with python.catch_warnings():
            python.simplefilter("ignore")
            item, found, _ = said(a__tif=raster("GTiff"))
    text = "\n".join(found)
    for word in ("strips", "overviews", "not compressed", "no coordinate reference", "where its pixels lie", "nodata"):
        assert word in text
    assert PROJECTION not in item["stac_extensions"]


def test_formats_that_are_not_for_the_web_and_files_that_lie() -> None:
    _, found, _ = said(a__nc=b"x", b__csv=b"x", c__tif=b"no raster", d__json=b"{}")
    assert [line.partition(":")[0] for line in found] == ["a.nc", "b.csv", "c.tif"]
    assert "it is no TIFF" in found[2]


def test_zarr_stores() -> None:
    bad = {"zarr_format": 2, "metadata": {"b/.zarray": {"shape": [10**6, 9], "chunks": [1, 1], "fill_value": None}}}
    _, found, _ = said(**{"c.zarr/.zmetadata": json.dumps(bad).encode(), "c.zarr/b/0.0": b"1"})
    text = "\n".join(found)
    for word in ("not consolidated", "no coordinate reference", "9000000 chunks", "fill_value"):
        assert word in text
    _, found, _ = said(**{"c.zarr/.zgroup": b"{}", "c.zarr/b/0.0": b"1"})
    assert "not consolidated" in found[0]
    assert "cannot be read" in next(of_zarr({"unreadable": "x"}))
    assert "no cloud-optimised" in next(of_tiff({"unreadable": "x"}))
