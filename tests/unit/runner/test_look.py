"""What the head of a raster says, read by a child; files that real software wrote, and files that nobody should."""

from __future__ import annotations

import json
import signal
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import zarr
from hypothesis import given
from hypothesis import strategies as st
from rasterio.transform import Affine

from broker.runner.client import Zygote
from broker.runner.look import facts
from tests.peers.runner import RunnerPeer

GRID = {
    "width": 1200,
    "height": 1000,
    "count": 1,
    "dtype": "uint8",
    "transform": Affine(10, 0, 600000, 0, -10, 4700020),
}


def written(path: Path, driver: str = "COG", **more: Any) -> bytes:
    profile = {**GRID, "driver": driver, "crs": "EPSG:32719", "nodata": 255, **more}
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(np.arange(1200 * 1000, dtype="uint32").reshape(1, 1000, 1200).astype("uint8"))
    return path.read_bytes()


def test_a_cog_is_known_as_one(tmp_path: Path) -> None:
    for big in ("NO", "YES"):
        said = facts("tiff", written(tmp_path / f"{big}.tif", compress="deflate", bigtiff=big)[: 256 * 1024])
        assert said["overviews"] >= 1
        del said["overviews"]
        assert said == {
            "width": 1200, "height": 1000, "tiled": True, "compression": 8, "epsg": 32719, "crs": True,
            "georeferenced": True, "transform": [10.0, 0.0, 600000.0, 0.0, -10.0, 4700020.0], "nodata": "255",
            "ordered": True, "whole": True,
        }  # fmt: skip


def test_a_plain_geotiff_is_told_from_a_cog(tmp_path: Path) -> None:
    said = facts("tiff", written(tmp_path / "plain.tif", "GTiff", nodata=None, crs=None)[: 256 * 1024])
    assert (said["tiled"], said["overviews"], said["crs"], said["nodata"]) == (False, 0, False, None)
    behind = tmp_path / "behind.tif"
    written(behind, "GTiff", tiled=True)
    with rasterio.open(behind, "r+") as raster:
        raster.build_overviews([2, 4])
    said = facts("tiff", behind.read_bytes()[: 256 * 1024])
    assert (said["whole"], said["ordered"]) == (False, False)


def test_a_cog_whose_directories_are_longer_than_the_head_is_still_one(tmp_path: Path) -> None:
    said = facts("tiff", written(tmp_path / "a.tif", blocksize=128)[:900])
    assert (said["whole"], said["ordered"]) == (False, True)


def test_consolidated_zarr_of_both_versions(tmp_path: Path) -> None:
    for version, document in ((2, ".zmetadata"), (3, "zarr.json")):
        store = tmp_path / f"{version}.zarr"
        group = zarr.open_group(store, mode="w", zarr_format=version)  # type: ignore[arg-type]
        made = group.create_array("ndwi", shape=(100, 200), chunks=(50, 50), dtype="f4", fill_value=-1)
        made.attrs["grid_mapping"] = "spatial_ref"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(store)
        said = facts("zarr", (store / document).read_bytes())
        assert said == {
            "version": version,
            "consolidated": True,
            "crs": True,
            "arrays": [{"name": "ndwi", "shape": [100, 200], "chunks": [50, 50], "nodata": True}],
        }


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"II",
        b"PK\x03\x04",
        b"II*\0\x08\0\0\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0\x08\0\0\0\xff\xff" + b"\0" * 100,
        b"II+\0\x08\0\0\0" + b"\xff" * 64,
        struct.pack("<2sHIH", b"II", 42, 8, 1) + struct.pack("<HHII", 256, 3, 2**31, 2**31) + b"\x08\0\0\0",
    ],
)
def test_what_is_no_tiff_is_unreadable(head: bytes) -> None:
    assert "unreadable" in facts("tiff", head)


@given(
    st.binary(max_size=400),
    st.sampled_from([b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08", b"II+\0\x08\0\0\0\x10" + b"\0" * 7]),
)
def test_no_bytes_break_the_reader_of_tiffs(rest: bytes, start: bytes) -> None:
    json.dumps(facts("tiff", start + rest))


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner) | st.lists(inner)
    )
)
def test_no_document_breaks_the_reader_of_zarr(document: Any) -> None:
    for raw in (document, {"zarr_format": 3, "consolidated_metadata": document}, {"metadata": document}):
        json.dumps(facts("zarr", json.dumps(raw).encode()))


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerPeer]:
    peer = RunnerPeer(tmp_path_factory.mktemp("runner"))
    peer.start()
    yield peer
    peer.kill(signal.SIGTERM)


def test_the_zygotes_child_answers_and_survives_what_is_sent(runner: RunnerPeer, tmp_path: Path) -> None:
    head = written(tmp_path / "a.tif")[: 256 * 1024]
    assert Zygote(runner.socket).look("tiff", head) == json.loads(json.dumps(facts("tiff", head) | {"size": 0}))
    assert "unreadable" in Zygote(runner.socket).look("tiff", b"x")
    assert "unreadable" in Zygote(runner.socket).look("exe", b"x")
    assert "unreadable" in Zygote(runner.socket).look("zarr", b"[" * 900_000)
    assert "unreadable" in Zygote(runner.socket).look("zarr", b"x" * (2**20 + 1))
    assert Zygote(runner.socket).ping()
