"""Which output files belong to which STAC item: read by the keeper from the catalogs that a package gave."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from broker.runner.beneath import open_file

MOST_ITEMS = 500
LONGEST = 500  # characters of an id
MOST_BYTES = 512 * 1024  # of one item


def of_outputs(outputs: Any, root: Path) -> dict[str, str]:
    """Path below `root` -> id of the item that it is, or is an asset of; of the directories among the outputs.

    The files are a stranger's: what is no item is passed over.
    """
    found: dict[str, str] = {}
    items = 0
    for path in _documents(outputs):
        item = _item(root, path)
        if item is None:
            continue
        items += 1
        if items > MOST_ITEMS:
            break
        found[path] = item["id"]
        assets = item.get("assets")
        for asset in assets.values() if isinstance(assets, dict) else ():
            href = asset.get("href") if isinstance(asset, dict) else None
            if isinstance(href, str) and (place := _beside(path, href)):
                found.setdefault(place, item["id"])
    return found


def _documents(value: Any, below: bool = False) -> Iterator[str]:
    """The JSON files inside of Directories."""
    if isinstance(value, Mapping):
        if value.get("class") == "Directory":
            for one in value.get("listing") or ():
                yield from _documents(one, True)
        elif value.get("class") == "File":
            path = str(value.get("location"))
            if below and path.endswith((".json", ".geojson")):
                yield path
        else:
            for one in value.values():
                yield from _documents(one, below)
    elif isinstance(value, list):
        for one in value:
            yield from _documents(one, below)


def _item(root: Path, path: str) -> dict[str, Any] | None:
    try:
        with os.fdopen(open_file(str(root), path), "rb") as stream:
            raw = stream.read(MOST_BYTES + 1)
        found = json.loads(raw) if len(raw) <= MOST_BYTES else None
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("type") != "Feature" or "stac_version" not in found:
        return None
    name = found.get("id")
    return found if isinstance(name, str) and 0 < len(name) <= LONGEST else None


def _beside(path: str, href: str) -> str | None:
    """The path that a relative link in a file means; None for one that leads elsewhere."""
    try:
        parts = urlsplit(href)
    except ValueError:
        return None
    place = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(parts.path)))
    return None if parts.scheme or parts.netloc or place.startswith(("../", "/")) else place
