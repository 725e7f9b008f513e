"""Is an output made for reading over the web? Warnings, from what the head of a file says: nothing is refused for it.

The heads are read in a child that can reach nothing (`broker.runner.look`), never here.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from broker.results.assets import modernise
from broker.results.target import File, Files, Finding, Json
from broker.runner.look import MOST

Look = Callable[[str, bytes], Mapping[str, Any]]
"""Kind and head to facts: `Zygote.look`."""

HEAD = 256 * 1024  # bytes of a TIFF that are looked at; the directories of a COG come first
SMALL = 512  # pixels: an image of at most so many needs neither tiles nor overviews
MOST_CHUNKS = 100_000  # of an array
_BETTER = {
    ".nc": "NetCDF cannot be read piece by piece over the web: Zarr can.",
    ".h5": "HDF5 cannot be read piece by piece over the web: Zarr can.",
    ".hdf": "HDF cannot be read piece by piece over the web: Zarr or COG can.",
    ".jp2": "JPEG 2000 is slow to read over the web: COG is made for it.",
    ".shp": "A shapefile is several files: GeoParquet, FlatGeobuf or GeoJSON are one.",
    ".csv": "A table in text has no types: Parquet is smaller and read by column.",
}


def warnings(planned: Json, files: Files, look: Look) -> list[Finding]:
    """What is to be said of the data of a planned item; fills in what its rasters say of their projection."""
    found: list[Finding] = []
    for asset in planned["item"]["assets"].values():
        raw = planned["files"].get(asset["href"])
        if raw is None or "data" not in asset["roles"]:
            continue
        file = File.from_json(raw)
        found += [Finding("warning", file.path, message) for message in _of(file, asset, files, look)]
        modernise(planned["item"], asset)
    return found


def _of(file: File, asset: Json, files: Files, look: Look) -> Iterator[str]:
    ending = posixpath.splitext(file.path)[1].lower()
    if ending in _BETTER:
        yield _BETTER[ending]
    elif ending in (".tif", ".tiff"):
        said = look("tiff", _head(files, file.source, HEAD))
        if "unreadable" not in said:
            _project(asset, said)
        yield from of_tiff(said)
    elif file.members:
        named = {member.path: member for member in file.members}
        document = next((named[name] for name in (".zmetadata", "zarr.json") if name in named), None)
        if document is not None and (document.size or 0) <= MOST:
            yield from of_zarr(look("zarr", _head(files, document.source, MOST)))
        elif any(name.endswith((".zgroup", ".zarray")) for name in named):
            yield "Its metadata is not consolidated: a reader has to ask for each array."


def of_tiff(said: Mapping[str, Any]) -> Iterator[str]:
    """What keeps a TIFF from being a Cloud Optimized GeoTIFF (OGC 21-026), and what else a reader will miss."""
    if "unreadable" in said:
        yield f"It is no cloud-optimised GeoTIFF: {said['unreadable']}."
        return
    large = max(said["width"], said["height"]) > SMALL
    if large and not said["tiled"]:
        yield "It is not cloud-optimised: its pixels lie in strips, not in tiles."
    if large and said["whole"] and not said["overviews"]:
        yield "It is not cloud-optimised: it has no overviews."
    if not said["ordered"]:
        yield "It is not cloud-optimised: a directory of it lies behind its pixels."
    if said["compression"] == 1 and large:
        yield "It is not compressed."
    if not said["crs"]:
        yield "It names no coordinate reference system."
    elif said["epsg"] is None:
        yield "Its coordinate reference system has no EPSG number."
    if not said["georeferenced"]:
        yield "It does not say where its pixels lie."
    if said["nodata"] is None:
        yield "It names no value for missing pixels (nodata)."


def of_zarr(said: Mapping[str, Any]) -> Iterator[str]:
    """What makes a Zarr store slow or hard to read."""
    if "unreadable" in said:
        yield f"Its Zarr metadata cannot be read: {said['unreadable']}."
        return
    if not said["consolidated"]:
        yield "Its metadata is not consolidated: a reader has to ask for each array."
    if not said["crs"]:
        yield "It names no coordinate reference system."
    for array in said["arrays"]:
        pairs = zip(array["shape"], array["chunks"], strict=False)
        count = math.prod(-(-length // chunk) for length, chunk in pairs if chunk > 0)
        if count > MOST_CHUNKS:
            yield f"The array {array['name']} has {count} chunks: fewer and larger ones are read faster."
        if len(array["shape"]) > 1 and not array["nodata"]:
            yield f"The array {array['name']} names no value for what is missing (fill_value)."


def _project(asset: Json, said: Mapping[str, Any]) -> None:
    """What a raster says of itself, where the package's STAC does not."""
    if said["epsg"]:
        asset.setdefault("proj:code", f"EPSG:{int(said['epsg'])}")
        asset.setdefault("proj:shape", [int(said["height"]), int(said["width"])])
        if said["transform"] and all(math.isfinite(number) for number in said["transform"]):
            asset.setdefault("proj:transform", [float(number) for number in said["transform"]])


def _head(files: Files, source: str, most: int) -> bytes:
    held = bytearray()
    for chunk in files.open(source):
        held += chunk
        if len(held) >= most:
            break
    return bytes(held[:most])
