"""Which format a file has, by its first bytes and not by what it is called; and what compares it."""

from __future__ import annotations

import json
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from broker.results.compare_stac import MOST, is_stac

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_NETCDF = (b"\x89HDF\r\n\x1a\n", b"CDF\1", b"CDF\2", b"CDF\5")
ZARR = ("zarr.json", ".zgroup", ".zarray", ".zmetadata")  # where one of these is, a store begins
_SHAPES = ("Point", "LineString", "Polygon")
_GEOJSON = {"Feature", "FeatureCollection", "GeometryCollection", *_SHAPES, *(f"Multi{one}" for one in _SHAPES)}


@dataclass(frozen=True, slots=True)
class Kind:
    """`function`: module and function below broker.results; `name` for people."""

    name: str
    function: str


KINDS = {
    "raster": Kind("GeoTIFF", "compare_raster:compare"),
    "picture": Kind("a picture", "compare_raster:compare"),
    "parquet": Kind("Parquet", "compare_features:parquet"),
    "netcdf": Kind("NetCDF or HDF5", "compare_arrays:netcdf"),
    "zarr": Kind("Zarr", "compare_arrays:zarr"),
    "stac": Kind("STAC", "compare_stac:compare"),
    "geojson": Kind("GeoJSON", "compare_features:geojson"),
    "json": Kind("JSON", "compare_stac:compare_json"),
    "csv": Kind("CSV", "compare_features:table"),
}


def is_zarr(path: Path) -> bool:
    """Whether a directory is one Zarr store."""
    return any((path / name).is_file() for name in ZARR)


def kind_of(path: Path) -> str | None:
    """A key of KINDS; None for what only its bytes say something about. Raises OSError."""
    if path.is_dir():
        return "zarr" if is_zarr(path) else None
    with path.open("rb") as stream:
        head = stream.read(4096)
    for beginnings, kind in ((_TIFF, "raster"), (_PICTURES, "picture"), (_NETCDF, "netcdf"), ((b"PAR1",), "parquet")):
        if head.startswith(beginnings):
            return kind
    if head.startswith(b"PK"):
        with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as archive:
            return "zarr" if any(name in ZARR for name in archive.namelist()) else None
        return None
    if head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return _of_json(path)
    return "csv" if path.suffix.lower() in (".csv", ".tsv") and b"\0" not in head else None


def _of_json(path: Path) -> str | None:
    if path.stat().st_size > MOST:
        return None
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    if is_stac(content) or _stac_features(content):
        return "stac"
    return "geojson" if isinstance(content, dict) and content.get("type") in _GEOJSON else "json"


def _stac_features(content: object) -> bool:
    """A collection of STAC items."""
    features = content.get("features") if isinstance(content, dict) else None
    return isinstance(features, list) and bool(features) and all(is_stac(one) for one in features)
