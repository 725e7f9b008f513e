"""What a page shows of a job's results: outputs, pictures, rasters, layers of the map, catalogs, files."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson

from broker.api import catalogs
from broker.api.catalogs import Catalog
from broker.api.outputs import CATALOG, Outputs, is_a, object_type
from broker.store.files import KeptFile

PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif")
RASTER, GEOJSON = "image/tiff", "application/geo+json"
MOST_PICTURES, MOST_RASTERS, MOST_LAYERS, MOST_CATALOGS = 12, 12, 20, 3
PICTURE_BYTES = 20 * 2**20  # a larger one is a link
LAYER_BYTES = 8 * 2**20  # so is a larger GeoJSON: browsers would stand still over it
MOST_FILES = 200  # of one page
MOST_OUTPUTS = 100
LONGEST_VALUE = 2000


@dataclass(frozen=True, slots=True)
class Link:
    """A file, a directory, or a place elsewhere; `size` in bytes."""

    name: str
    href: str
    kind: str
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """One output: a text, or links. `more`: how many links are not shown."""

    name: str
    text: str | None
    links: tuple[Link, ...] = ()
    more: int = 0


@dataclass(frozen=True, slots=True)
class Media:
    """A picture, a raster, or a layer of the map."""

    title: str
    href: str
    size: int | None


@dataclass
class View:
    """All that a results page shows. `files` are the first of `count`; `left_out`: what is not drawn, and why."""

    outputs: list[Output] = field(default_factory=list)
    pictures: list[Media] = field(default_factory=list)
    rasters: list[Media] = field(default_factory=list)
    layers: list[Media] = field(default_factory=list)
    catalogs: list[Catalog] = field(default_factory=list)
    files: list[Link] = field(default_factory=list)
    count: int = 0
    total: int = 0  # bytes
    left_out: list[str] = field(default_factory=list)


def view(outputs: Outputs, content: Callable[[KeptFile], bytes]) -> View:
    """Read what is needed to show the results; `content` gives the bytes of a kept file."""
    made = View(count=len(outputs.files), total=sum(file.size or 0 for file in outputs.files.values()))
    made.outputs = [_output(outputs, name, value) for name, value in list(outputs.values.items())[:MOST_OUTPUTS]]
    made.files = [link(outputs, file) for file in list(outputs.files.values())[:MOST_FILES]]
    roots = dict.fromkeys(root for value in outputs.values.values() for root in _catalog_paths(outputs, value))
    made.catalogs = [catalogs.read(path, outputs.files, content) for path in list(roots)[:MOST_CATALOGS]]
    titles = {
        asset.file.path: asset.title or asset.key
        for catalog in made.catalogs
        for item in catalog.items
        for asset in item.assets
        if asset.file is not None
    }
    for catalog in made.catalogs:
        for item in catalog.items:
            if item.drawable and len(made.layers) < MOST_LAYERS:
                shown = f"Footprint of {item.title or item.id}"
                made.layers.append(Media(shown, outputs.href(item.file.path), item.file.size))
    _literal_layers(made, outputs)
    for file in outputs.files.values():
        _draw(made, outputs, file, titles.get(file.path) or posixpath.basename(file.path))
    return made


def _draw(made: View, outputs: Outputs, file: KeptFile, title: str) -> None:
    """Put a file where it can be seen, as long as there is room for it."""
    kind = (file.media_type or "").partition(";")[0].strip().lower()
    if kind in PICTURES:
        shown, most, largest = made.pictures, MOST_PICTURES, PICTURE_BYTES
    elif kind == RASTER:
        shown, most, largest = made.rasters, MOST_RASTERS, 2**63
    elif kind == GEOJSON:
        shown, most, largest = made.layers, MOST_LAYERS, LAYER_BYTES
    else:
        return
    if len(shown) >= most or (file.size or 0) > largest:
        why = "too large to draw" if (file.size or 0) > largest else "one too many to draw"
        if len(made.left_out) < MOST_FILES:
            made.left_out.append(f"{file.path} ({why})")
        return
    shown.append(Media(title, outputs.href(file.path), file.size))


def _literal_layers(made: View, outputs: Outputs) -> None:
    """GeoJSON that is an output by value."""
    for name, value in outputs.values.items():
        plain = isinstance(value, Mapping) and not is_a(value, "File") and not is_a(value, "Directory")
        if plain and object_type(value) == GEOJSON and len(made.layers) < MOST_LAYERS:
            made.layers.append(Media(name, f"{outputs.here}/results/{quote(name, safe='')}", None))


def link(outputs: Outputs, file: KeptFile, below: str = "") -> Link:
    name = file.path.removeprefix(below)
    return Link(name, outputs.href(file.path), file.media_type or "application/octet-stream", file.size)


def _output(outputs: Outputs, name: str, value: Any) -> Output:
    if value is None:
        return Output(name, "none")
    many = value if isinstance(value, list) else [value]
    if many and all(is_a(one, "File") or is_a(one, "Directory") for one in many):
        return Output(name, None, tuple(_place(outputs, one) for one in many[:20]), max(0, len(many) - 20))
    if isinstance(value, str):
        shown = value
    else:
        shown = orjson.dumps(outputs.document(value), option=orjson.OPT_INDENT_2).decode()
    return Output(name, shown if len(shown) <= LONGEST_VALUE else shown[:LONGEST_VALUE] + " …")


def _place(outputs: Outputs, value: Mapping[str, Any]) -> Link:
    path = outputs.path_of(value)
    name = str(value.get("basename") or posixpath.basename(path) or "files")
    if is_a(value, "File"):
        row = outputs.files.get(path)
        return Link(name, outputs.href(path), (row.media_type if row else None) or "file", row.size if row else None)
    below = f"{path}/" if path else ""
    inside = [file.size or 0 for file in outputs.files.values() if file.path.startswith(below)]
    words = f"directory of {len(inside)} file{'' if len(inside) == 1 else 's'}"
    where = f"{outputs.href(path)}/?f=html" if path else f"{outputs.here}/files?f=html"
    return Link(name, where, words, sum(inside))


def _catalog_paths(outputs: Outputs, value: Any) -> Iterator[str]:
    """The catalogs of the Directories in a value."""
    if isinstance(value, list):
        for one in value:
            yield from _catalog_paths(outputs, one)
    elif is_a(value, "Directory"):
        path = outputs.path_of(value)
        catalog = f"{path}/{CATALOG}" if path else CATALOG
        if catalog in outputs.files:
            yield catalog
