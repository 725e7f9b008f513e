"""Reads the head of a stranger's file in a child of the zygote that may use little and reach nothing.

What it is sent: a frame {"kind": "tiff" or "zarr"} with the first bytes of a TIFF, or the metadata document of a Zarr
store. What it sends: a frame with the facts (`tiff`, `zarr`), or {"unreadable": why}.
Sources: TIFF 6.0, the BigTIFF and GeoTIFF 1.1 (OGC 19-008) specifications, Zarr v2 and v3.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from broker.runner import frames, kernel

MOST = 1024 * 1024  # bytes that are looked at
MEMORY = 512 * 2**20
CPU = 5
SECONDS = 20
DESCRIPTORS = 16
MOST_IMAGES = 64
MOST_FIELDS = 500
MOST_ARRAYS = 200
_WORDS = {1: "B", 2: "s", 3: "H", 4: "I", 12: "d", 13: "I", 16: "Q"}
_LONGEST = 4096  # bytes of a field's value that are read
_SUBFILE, _WIDTH, _HEIGHT, _COMPRESSION, _STRIPS, _TILE_WIDTH, _TILES = 254, 256, 257, 259, 273, 322, 324
_SCALE, _TIEPOINT, _MATRIX, _GEOKEYS, _NODATA = 33550, 33922, 34264, 34735, 42113
_READ = frozenset(
    (
        _SUBFILE,
        _WIDTH,
        _HEIGHT,
        _COMPRESSION,
        _STRIPS,
        _TILE_WIDTH,
        _TILES,
        _SCALE,
        _TIEPOINT,
        _MATRIX,
        _GEOKEYS,
        _NODATA,
    )
)
_PROJECTED, _GEOGRAPHIC, _USER_DEFINED = 3072, 2048, 32767


class Unreadable(Exception):
    """What came is not what it was said to be."""


def serve(connection: socket.socket, nowhere: Path) -> int:
    """Look at one file. `nowhere`: an empty directory, all that is left of the file system."""
    signal.alarm(SECONDS)
    kernel.shut_in(nowhere, keep=(0, 1, 2, connection.fileno()))
    kernel.limit(memory=MEMORY, cpu=CPU, files=DESCRIPTORS, written=0, processes=0)
    try:
        asked, head = frames.receive(connection.makefile("rb"), MOST)
        answer = facts(str(asked.get("kind")), head)
    except frames.Garbled as error:
        answer = {"unreadable": f"what was sent is no frame ({error})"}
    except Exception as error:  # noqa: BLE001  the boundary of a process, which has no log that anybody reads
        answer = {"unreadable": f"it cannot be read ({type(error).__name__})"}
    frames.send(connection, answer)
    connection.close()
    return 0


def facts(kind: str, head: bytes) -> dict[str, Any]:
    """What the head of a file says; {"unreadable": why}."""
    try:
        return {"tiff": tiff, "zarr": zarr}[kind](head)
    except (
        Unreadable,
        struct.error,
        ValueError,
        RecursionError,
        OverflowError,
        KeyError,
        TypeError,
        AttributeError,
    ) as error:
        return {"unreadable": str(error)[:200] or type(error).__name__}


# ---- TIFF


def tiff(head: bytes) -> dict[str, Any]:
    """width, height, tiled, compression, overviews, epsg (None: not known by number), georeferenced, crs, nodata,
    transform, ordered (all directories lie before the pixels), whole (all directories are in the head)."""
    images, further = _images(head)
    first = images[0]
    keys = _geokeys(first.get(_GEOKEYS, ()))
    code = keys.get(_PROJECTED) or keys.get(_GEOGRAPHIC)
    starts = [image[tag][0] for image in images for tag in (_TILES, _STRIPS) if image.get(tag)]
    nodata = first.get(_NODATA)
    return {
        "width": first[_WIDTH][0],
        "height": first[_HEIGHT][0],
        "tiled": _TILE_WIDTH in first,
        "compression": first.get(_COMPRESSION, (1,))[0],
        "overviews": sum(1 for image in images[1:] if image.get(_SUBFILE, (0,))[0] & 1),
        "epsg": code if code and code != _USER_DEFINED else None,
        "crs": bool(code),
        "georeferenced": _MATRIX in first or (_SCALE in first and _TIEPOINT in first),
        "transform": _transform(first),
        "nodata": nodata.split(b"\0")[0].decode("ascii", "replace").strip()[:40] if isinstance(nodata, bytes) else None,
        "ordered": not starts or max(further, *(image["at"] for image in images)) < min(starts),
        "whole": further == 0,
    }


def _images(head: bytes) -> tuple[list[dict[Any, Any]], int]:
    """The directories in the head: tag -> values, `at` -> where it lies; and where the next one lies (0: no other)."""
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None:
        raise Unreadable("it is no TIFF")
    magic = struct.unpack_from(order + "H", head, 2)[0]
    if magic not in (42, 43):
        raise Unreadable("it is no TIFF")
    big = magic == 43
    pointer, counter, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    at = struct.unpack_from(order + pointer, head, 8 if big else 4)[0]
    images: list[dict[Any, Any]] = []
    seen: set[int] = set()
    while at and at not in seen and len(images) < MOST_IMAGES:
        start = at + struct.calcsize(order + counter)
        if start > len(head):
            break
        count = struct.unpack_from(order + counter, head, at)[0]
        end = start + count * entry
        if count > MOST_FIELDS:
            raise Unreadable("a directory of it has too many fields")
        if end + struct.calcsize(order + pointer) > len(head):
            break
        seen.add(at)
        images.append({"at": at} | _fields(head, order, start, count, entry))
        at = struct.unpack_from(order + pointer, head, end)[0]
    if not images or not images[0].get(_WIDTH) or not images[0].get(_HEIGHT):
        raise Unreadable("its first directory is not at its beginning")
    return images, at if at not in seen else 0


def _fields(head: bytes, order: str, start: int, count: int, entry: int) -> dict[int, Any]:
    found: dict[int, Any] = {}
    room, pointer = (8, "Q") if entry == 20 else (4, "I")
    for at in range(start, start + count * entry, entry):
        tag, kind = struct.unpack_from(order + "HH", head, at)
        word = _WORDS.get(kind)
        if tag not in _READ or word is None:
            continue
        number = struct.unpack_from(order + pointer, head, at + 4)[0]
        value, size = at + entry - room, struct.calcsize(word)
        if number * size > room:
            value = struct.unpack_from(order + pointer, head, value)[0]
        number = min(number, _LONGEST // size)  # of the offsets of tiles the first is enough
        if number == 0 or value + number * size > len(head):
            number = min(number, max(0, (len(head) - value) // size))
        if number:
            read = struct.unpack_from(f"{order}{number}{word}", head, value)
            found[tag] = read[0] if word == "s" else read
    return found


def _geokeys(values: Any) -> dict[int, int]:
    """GeoKeys whose value is in the directory itself."""
    found = {}
    for at in range(4, len(values) - 3, 4):
        key, place, _, value = values[at : at + 4]
        if place == 0:
            found[key] = value
    return found


def _transform(image: Mapping[Any, Any]) -> list[float] | None:
    """As `proj:transform`: of pixel corners to coordinates, six numbers."""
    scale, tie, matrix = image.get(_SCALE), image.get(_TIEPOINT), image.get(_MATRIX)
    if matrix and len(matrix) >= 8:
        return [*matrix[0:2], matrix[3], *matrix[4:6], matrix[7]]
    if not scale or not tie or len(scale) < 2 or len(tie) < 6:
        return None
    return [scale[0], 0.0, tie[3] - tie[0] * scale[0], 0.0, -scale[1], tie[4] + tie[1] * scale[1]]


# ---- Zarr


def zarr(head: bytes) -> dict[str, Any]:
    """Of a metadata document: version, consolidated, crs (some array or group names one), arrays [{name, shape, chunks,
    nodata}]."""
    document = json.loads(head)
    if not isinstance(document, dict):
        raise Unreadable("its metadata is no object")
    if document.get("zarr_format") == 3 or "node_type" in document:
        inner = document.get("consolidated_metadata") or {}
        nodes, consolidated = inner.get("metadata") or {}, bool(inner)
        arrays = {name: node for name, node in nodes.items() if node.get("node_type") == "array"}
        texts = [document.get("attributes"), *(node.get("attributes") for node in nodes.values())]
        chunks = {name: node["chunk_grid"]["configuration"]["chunk_shape"] for name, node in arrays.items()}
        version = 3
    else:
        nodes, consolidated = document.get("metadata") or {}, "zarr_consolidated_format" in document
        arrays = {name.removesuffix("/.zarray"): node for name, node in nodes.items() if name.endswith(".zarray")}
        texts = [node for name, node in nodes.items() if name.endswith(".zattrs")]
        chunks = {name: node["chunks"] for name, node in arrays.items()}
        version = 2
    names = set().union(*(set(text) for text in texts if isinstance(text, dict)))
    return {
        "version": version,
        "consolidated": consolidated,
        "crs": bool(names & {"grid_mapping", "crs_wkt", "spatial_ref", "proj:code", "proj:epsg", "grid_mapping_name"}),
        "arrays": [
            {
                "name": str(name)[:200],
                "shape": [int(number) for number in node["shape"]][:16],
                "chunks": [int(number) for number in chunks[name]][:16],
                "nodata": node.get("fill_value") is not None,
            }
            for name, node in list(arrays.items())[:MOST_ARRAYS]
        ],
    }
