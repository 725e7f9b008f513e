"""Files of two runs on disk, of real libraries, and what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import rasterio
import zarr
from rasterio.transform import Affine

from broker.results.compare import Compared, compare, outputs
from broker.results.confined import Confinement, confinement
from broker.results.verdict import Tolerance, Verdict


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


def tiff(
    path: Path, values: Any, *, east: float = 5e5, crs: str = "EPSG:32633", driver: str = "GTiff", **more: Any
) -> None:
    """Of rows and columns, or of bands of them."""
    bands = values if values.ndim == 3 else values[None]
    count, height, width = bands.shape
    profile = {"width": width, "height": height, "count": count, "dtype": values.dtype, "crs": crs, **more}
    no_sidecar = rasterio.Env(GDAL_PAM_ENABLED=False)
    with (
        no_sidecar,
        rasterio.open(path, "w", driver=driver, transform=Affine(10, 0, east, 0, -10, 5e6), **profile) as file,
    ):
        file.write(bands)


def cube(path: Path, values: Any, *, chunks: tuple[int, int], version: Any) -> None:
    root = zarr.open_group(str(path), mode="w", zarr_format=version)
    made = root.create_array("t", shape=values.shape, chunks=chunks, dtype="f8")
    made[:] = values
