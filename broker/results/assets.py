"""Assets of published items: names that are allowed, media types, roles, directories as one file."""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from broker.results.target import File, Json

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
LONGEST = 100  # characters of an id or a file name
_TYPES = {  # where neither the package nor the request names one
    ".tif": "image/tiff; application=geotiff",
    ".tiff": "image/tiff; application=geotiff",
    ".json": "application/json",
    ".geojson": "application/geo+json",
    ".parquet": "application/vnd.apache.parquet",
    ".fgb": "application/vnd.flatgeobuf",
    ".nc": "application/netcdf",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".log": "text/plain",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".cwl": "application/cwl",
    ".zip": "application/zip",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".pdf": "application/pdf",
    ".html": "text/html",
}
_PICTURES = ("image/png", "image/jpeg", "image/webp")


def safe_name(text: str, longest: int = LONGEST) -> str:
    """An id or a file name of the characters that are allowed; of a longer or another one, with a digest of it."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "item"
    if len(plain) <= longest and plain == text:
        return plain
    mark = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]
    stem, dot, suffix = plain.rpartition(".")
    ending = f".{suffix}" if dot and len(suffix) <= 10 else ""
    stem = stem if ending else plain
    return f"{stem[: longest - len(ending) - 9]}-{mark}{ending}"


def guessed(path: str) -> str:
    """The media type by the ending of a name."""
    return _TYPES.get(posixpath.splitext(path)[1].lower(), "application/octet-stream")


def with_directories(files: Iterable[File]) -> Iterator[File]:
    """Files, those of a Zarr store together as one."""
    stores: dict[str, list[File]] = {}
    for file in files:
        head, dot, _ = file.path.partition(".zarr/")
        if dot:
            stores.setdefault(f"{head}.zarr", []).append(file)
        else:
            yield file
    for path, members in stores.items():
        yield directory(path, members)


def directory(path: str, members: Sequence[File]) -> File:
    """Files below a path as one that is published as a zip."""
    below = tuple(member.at(member.path[len(path) + 1 :]) for member in members)
    return File(path, path, None, None, "application/zip", below)


def roles_of(own: Mapping[str, Any], media: str) -> list[str]:
    """The roles that the package gave an asset, else those that its media type suggests."""
    if known := texts(own.get("roles")):
        return known
    return ["overview"] if media.partition(";")[0] in _PICTURES else ["data"]


def modernise(item: Json, holder: Json) -> None:
    """`proj:epsg` (projection 1.x) as `proj:code`, and the extension's version with it."""
    number = holder.pop("proj:epsg", None)
    if isinstance(number, int):
        holder.setdefault("proj:code", f"EPSG:{number}")
    if any(name.startswith("proj:") for name in holder):
        kept = [uri for uri in item["stac_extensions"] if "/projection/" not in uri]
        item["stac_extensions"] = sorted({*kept, PROJECTION})


def texts(value: Any) -> list[str]:
    """The strings in what should be a list of them."""
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
