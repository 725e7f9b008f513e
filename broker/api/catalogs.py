"""STAC catalogs among the files of a job, as pages show them. Everything in them was written by strangers: read with
bounds, kept as short texts; links lead to files of the same job or nowhere."""

from __future__ import annotations

import posixpath
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import orjson

from broker.store.files import KeptFile

MOST_BYTES = 2**20  # of one document
MOST_DOCUMENTS = 60  # that are read of one catalog
MOST_ITEMS = 50
MOST_ASSETS = 50  # of one item
LONGEST = 500  # characters of a text
LONGEST_WORDS = 2000  # of a description


@dataclass(frozen=True, slots=True)
class Asset:
    """`file`: the kept file that it is; `href`: its address where it lies elsewhere (http or https)."""

    key: str
    title: str
    kind: str
    roles: tuple[str, ...]
    file: KeptFile | None
    href: str | None


@dataclass(frozen=True, slots=True)
class Item:
    id: str
    title: str
    description: str
    when: str
    file: KeptFile
    assets: tuple[Asset, ...]
    drawable: bool  # it has a footprint


@dataclass(slots=True)
class Catalog:
    """`left_out`: whether there is more in it than is shown; `broken`: documents that could not be read."""

    title: str
    description: str
    file: KeptFile
    items: list[Item] = field(default_factory=list)
    left_out: bool = False
    broken: list[str] = field(default_factory=list)


def read(path: str, files: Mapping[str, KeptFile], content: Callable[[KeptFile], bytes]) -> Catalog:
    """The catalog at a path of the kept files, with the items below it. `content` gives the bytes of a file."""
    start = files[path]
    catalog = Catalog("", "", start)
    waiting, seen = deque([path]), {path}
    while waiting:
        if len(seen) - len(waiting) >= MOST_DOCUMENTS or len(catalog.items) >= MOST_ITEMS:
            catalog.left_out = True
            break
        here = waiting.popleft()
        document = _document(files[here], content)
        if document is None:
            catalog.broken.append(here)
            continue
        if here == path:
            catalog.title = text(document.get("title")) or text(document.get("id"))
            catalog.description = text(document.get("description"), LONGEST_WORDS)
        if document.get("type") == "Feature":
            catalog.items.append(_item(document, here, files))
            continue
        for target in _targets(document, here):
            if target in files and target not in seen:
                seen.add(target)
                waiting.append(target)
    return catalog


def _document(file: KeptFile, content: Callable[[KeptFile], bytes]) -> dict[str, Any] | None:
    """None for what is too large or no JSON object."""
    if (file.size or 0) > MOST_BYTES:
        return None
    try:
        found = orjson.loads(content(file))
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _targets(document: Mapping[str, Any], here: str) -> Iterator[str]:
    """The paths that a catalog's links to children and items name."""
    for one in _list(document.get("links")):
        if isinstance(one, dict) and one.get("rel") in ("item", "child"):
            target = beside(here, one.get("href"))
            if target is not None:
                yield target


def _item(document: Mapping[str, Any], here: str, files: Mapping[str, KeptFile]) -> Item:
    found = document.get("properties")
    properties = found if isinstance(found, dict) else {}
    when = text(properties.get("datetime"), 40)
    if not when and properties.get("start_datetime"):
        when = f"{text(properties.get('start_datetime'), 40)} to {text(properties.get('end_datetime'), 40)}"
    given = document.get("assets")
    assets = list((given if isinstance(given, dict) else {}).items())[:MOST_ASSETS]
    return Item(
        text(document.get("id")) or posixpath.basename(here),
        text(properties.get("title")),
        text(properties.get("description"), LONGEST_WORDS),
        when,
        files[here],
        tuple(_asset(str(key), one, here, files) for key, one in assets if isinstance(one, dict)),
        isinstance(document.get("geometry"), dict),
    )


def _asset(key: str, asset: Mapping[str, Any], here: str, files: Mapping[str, KeptFile]) -> Asset:
    path = beside(here, asset.get("href"))
    href = None if path in files else elsewhere(asset.get("href"))
    roles = tuple(text(one, 40) for one in _list(asset.get("roles"))[:10])
    return Asset(text(key), text(asset.get("title")), text(asset.get("type"), 120), roles, files.get(path or ""), href)


def beside(here: str, href: object) -> str | None:
    """The path that a relative link of the document at `here` names; None for other links, and those that lead out."""
    parts = _parts(href)
    if parts is None or parts.scheme or parts.netloc or not parts.path or parts.path.startswith("/"):
        return None
    path = posixpath.normpath(posixpath.join(posixpath.dirname(here), unquote(parts.path)))
    return None if path.startswith("../") or path == ".." else path


def elsewhere(href: object) -> str | None:
    """An absolute link that a browser may be sent to: http and https only."""
    parts = _parts(href)
    return str(href) if parts is not None and parts.scheme in ("http", "https") and parts.netloc else None


def _parts(href: object) -> SplitResult | None:
    """None for what is no link, or too long for one."""
    if not isinstance(href, str) or len(href) > 2000:
        return None
    try:
        return urlsplit(href)
    except ValueError:
        return None


def text(value: object, most: int = LONGEST) -> str:
    """A text of others, cut to a length; anything else than text and numbers is nothing."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    whole = str(value)
    return whole if len(whole) <= most else whole[: most - 1] + "…"


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
