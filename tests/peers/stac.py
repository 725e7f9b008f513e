"""Small STAC documents for a `WebPeer` to serve, and a reader of what staging made of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pystac


def item(name: str, assets: Mapping[str, Any], links: Any = (), **more: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": name,
        "geometry": None,
        "properties": {"datetime": "2026-01-01T00:00:00Z", "eo:cloud_cover": 12.5},
        "links": list(links),
        "assets": dict(assets),
        **more,
    }


def catalog(name: str, *links: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": name,
        "description": f"About {name}",
        "links": [{"rel": rel, "href": href} for rel, href in links],
        **more,
    }


def collection(name: str, *links: tuple[str, str]) -> dict[str, Any]:
    extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [["2026-01-01T00:00:00Z", None]]}}
    return catalog(name, *links) | {"type": "Collection", "license": "CC-BY-4.0", "extent": extent}


def read(folder: Path) -> dict[str, pystac.Item]:
    """The items of a staged catalog, as a package would read them; every asset must be a file beside its item."""
    found = pystac.Catalog.from_file(str(folder / "catalog.json"))
    items = {one.id: one for one in found.get_items(recursive=True)}
    for one in items.values():
        assert Path(one.self_href).is_relative_to(folder)
    return items


def asset_bytes(one: pystac.Item, key: str) -> bytes:
    return Path(str(one.assets[key].get_absolute_href())).read_bytes()
