"""Turns a STAC item, collection or catalog into a directory with a self-contained `catalog.json` and its assets.

Layout (the one that application packages for Earth observation expect): `catalog.json`, and for each item
`<id>/<id>.json` with its assets beside it, all linked by relative hrefs. Nested catalogs are flattened;
collections that items belong to are kept as `<id>/collection.json`. Everything else in an item stays as it was.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from broker.errors import StagingError
from broker.runner.fetch import Download, Fetcher, local_path
from broker.runner.stac_links import Place, absolute, dicts, display_name, embedded, resolve

_STRUCTURE = frozenset({"self", "root", "parent", "child", "item", "items", "collection", "prev", "previous", "next"})
_BATCH = 64  # documents read together
_HINT = "A directory input is given as a STAC item, collection or catalog; a web directory cannot be fetched."


@dataclass(frozen=True, slots=True)
class _Item:
    document: dict[str, Any]
    place: Place


def expand(document: Any, url: str | None, folder: Path, fetcher: Fetcher) -> list[Download]:
    """Write the catalog below `folder` and give the downloads that its assets need.

    `document` was read from `url` (None: it came by value); where that is a `file:` link of the broker's own,
    links may lead to other files in its directory. Raises StagingError, EgressRefused.
    """
    below = local_path(url).parent if url and url.startswith("file:") else None
    place = Place(url, below) if url or not isinstance(document, dict) else embedded(document, Place(None))
    walk = _Walk(fetcher)
    items = list(walk.items(document, place))
    return _Writer(folder, fetcher, walk.collections).write(document, items)


class _Walk:
    """Follows links from a document to all items, breadth first, within the rules' limits."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._seen: set[str] = set()
        self._count = 0
        self.collections: dict[str, _Item] = {}

    def items(self, document: Any, place: Place) -> Iterator[_Item]:
        waiting: deque[tuple[Place, int]] = deque()
        batch = [(document, place, 0)]
        while batch:
            for found, where, depth in batch:
                yield from self._of(found, where)
                waiting.extend(self._next(found, _kind(found, where), where, depth))
            wanted = [waiting.popleft() for _ in range(min(len(waiting), _BATCH))]
            read = self._fetcher.documents([(at.url or "", at.below is not None) for at, _ in wanted])
            batch = [
                (found, Place(url, at.below), depth) for (found, url), (at, depth) in zip(read, wanted, strict=True)
            ]

    def _of(self, found: Any, place: Place) -> Iterator[_Item]:
        """The items in one document."""
        kind = _kind(found, place)
        if kind == "Feature":
            yield self._counted(found, place)
        elif kind == "FeatureCollection":
            for feature in dicts(found.get("features")):
                yield self._counted(feature, embedded(feature, place))
        elif kind == "Collection":
            self.collections.setdefault(str(found.get("id")), _Item(found, place))

    def _counted(self, item: dict[str, Any], place: Place) -> _Item:
        self._count += 1
        if self._count > self._fetcher.rules.items:
            raise StagingError(
                f"The STAC input has more than {self._fetcher.rules.items} items.", hint="Select fewer, by a search."
            )
        if not isinstance(item.get("id"), str) or not item["id"]:
            raise StagingError(f"A STAC item in {display_name(place)} has no id.")
        return _Item(item, place)

    def _next(self, found: dict[str, Any], kind: str, place: Place, depth: int) -> Iterator[tuple[Place, int]]:
        """Addresses of the documents to read after this one, and how deep they are."""
        links = [link for link in dicts(found.get("links")) if str(link.get("method", "GET")).upper() == "GET"]
        wanted, level = {"item", "child"}, depth + 1
        if kind in ("Feature", "FeatureCollection"):
            wanted, level = ({"next"} if kind == "FeatureCollection" else set()), depth
        elif not any(link.get("rel") in wanted for link in links):
            wanted = {"items"}  # a STAC API lists its items in pages
        for link in links:
            if link.get("rel") not in wanted:
                continue
            target = resolve(str(link.get("href")), place)
            if target.url is None or target.url in self._seen:
                continue
            self._seen.add(target.url)
            if len(self._seen) > 2 * self._fetcher.rules.items:
                raise StagingError(f"The STAC input {display_name(place)} links to too many documents.")
            if level > self._fetcher.rules.depth:
                raise StagingError(f"The STAC input is nested more than {self._fetcher.rules.depth} catalogs deep.")
            yield target, level


class _Writer:
    """Writes catalog, collections and items; every name is safe and used once."""

    def __init__(self, folder: Path, fetcher: Fetcher, collections: Mapping[str, _Item]) -> None:
        self._folder = folder
        self._fetcher = fetcher
        self._collections = collections
        self._names = {"catalog.json"}
        self._downloads: list[Download] = []

    def write(self, source: Mapping[str, Any], items: Iterable[_Item]) -> list[Download]:
        links: list[dict[str, Any]] = [_link("root", "./catalog.json")]
        homes = {}
        for key, collection in self._collections.items():
            name = _unused(key, self._names)
            homes[key] = f"{name}/collection.json"
            kept = [_link("root", "../catalog.json"), _link("parent", "../catalog.json")]
            document = collection.document | {"links": kept + _kept_links(collection)}
            if isinstance(document.get("assets"), dict):
                document["assets"] = {
                    key: absolute(asset, collection.place)
                    for key, asset in document["assets"].items()
                    if isinstance(asset, dict)
                }
            self._save(homes[key], document)
            links.append(_link("child", f"./{homes[key]}"))
        for item in items:
            name = _unused(item.document["id"], self._names)
            home = homes.get(str(item.document.get("collection")))
            self._save(f"{name}/{name}.json", self._item(item, name, home))
            links.append(_link("item", f"./{name}/{name}.json", "application/geo+json"))
        catalog = {
            "type": "Catalog",
            "id": str(source.get("id") or "inputs"),
            "stac_version": str(source.get("stac_version") or "1.0.0"),
            "description": str(source.get("description") or "Inputs staged for this job."),
            "links": links,
        }
        self._save("catalog.json", catalog)
        return self._downloads

    def _item(self, item: _Item, name: str, home: str | None) -> dict[str, Any]:
        links = [_link("root", "../catalog.json"), _link("parent", "../catalog.json")]
        if home is not None:
            links.append(_link("collection", f"../{home}"))
        else:
            own = dicts(item.document.get("links"))
            links += [absolute(link, item.place) for link in own if link.get("rel") == "collection"]
        assets = item.document.get("assets") or {}
        if not isinstance(assets, dict) or not all(isinstance(asset, dict) for asset in assets.values()):
            raise StagingError(f"The assets of the STAC item {item.document['id']} are not an object of objects.")
        used = {f"{name}.json"}
        staged = {key: self._asset(item, name, key, asset, used) for key, asset in assets.items()}
        left = {key: asset["href"] for key, asset in staged.items() if not asset["href"].startswith("./")}
        if left:
            if len(left) == len(staged):
                self._fetcher.demand(left.values())
            self._fetcher.say(f"item {item.document['id']}: not fetched, left as links: {', '.join(left)}")
        return item.document | {"links": links + _kept_links(item), "assets": staged}

    def _asset(self, item: _Item, name: str, key: str, asset: dict[str, Any], used: set[str]) -> dict[str, Any]:
        """The asset with a relative href; with an absolute one where it is nothing that can be fetched as a file."""
        other = asset.get("alternate")
        others = dicts(list(other.values())) if isinstance(other, dict) else ()
        hrefs = [href for one in (asset, *others) if isinstance(href := one.get("href"), str) and href]
        if not hrefs:
            raise StagingError(f"The asset {key} of the STAC item {item.document['id']} has no href.")
        places = [resolve(href, item.place) for href in hrefs]
        place = next((place for place in places if self._is_file(asset, place)), None)
        if place is None or place.url is None:
            return asset | {"href": places[0].url}
        file = _unused(_basename(place.url) or key, used)
        checksum = str(asset.get("file:checksum", ""))
        digest = checksum[4:] if re.fullmatch("1220[0-9a-f]{64}", checksum) else None  # multihash of a sha256
        label, target = f"{item.document['id']}/{file}", self._folder / name / file
        trusted = place.below is not None
        self._downloads.append(
            Download(place.url, target, label, trusted=trusted, sha256=digest, stac=item.document["id"])
        )
        return asset | {"href": f"./{file}"}

    def _is_file(self, asset: Mapping[str, Any], place: Place) -> bool:
        url = place.url or ""
        folder = urlsplit(url).path.endswith("/") or "zarr" in str(asset.get("type", ""))
        return not folder and (place.below is not None or self._fetcher.can_reach(url))

    def _save(self, path: str, document: Mapping[str, Any]) -> None:
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # What no UTF-8 can hold (a lone surrogate, written as an escape) would stop strict readers: it becomes "?".
        target.write_bytes(json.dumps(document, ensure_ascii=False, indent=1).encode("utf-8", "replace"))
        target.chmod(0o444)


def _kind(document: Any, place: Place) -> str:
    kind = document.get("type") if isinstance(document, dict) else None
    if kind is None and isinstance(document, dict) and "stac_version" in document and "links" in document:
        kind = "Collection" if "extent" in document else "Catalog"  # before STAC 1.0 these had no type
    stac = kind == "FeatureCollection" or (isinstance(document, dict) and "stac_version" in document)
    if kind not in ("Feature", "FeatureCollection", "Collection", "Catalog") or not stac:
        raise StagingError(f"{display_name(place)} is not a STAC document.", hint=_HINT)
    return str(kind)


def _kept_links(item: _Item) -> list[dict[str, Any]]:
    """Links to the world outside (licence, derived_from ...), made absolute; those that are no links are dropped."""
    links = [link for link in dicts(item.document.get("links")) if isinstance(link.get("href"), str)]
    return [
        absolute(link, item.place)
        for link in links
        if isinstance(rel := link.get("rel"), str) and rel not in _STRUCTURE
    ]


def _link(rel: str, href: str, media_type: str = "application/json") -> dict[str, Any]:
    return {"rel": rel, "href": href, "type": media_type}


def _basename(url: str) -> str:
    path = url.partition("://")[2] if url.lower().startswith("s3:") else urlsplit(url).path
    return unquote(path.rpartition("/")[2])


def _unused(name: str, used: set[str]) -> str:
    """A file name made from `name`, of plain characters (so that it is its own URL), not in `used`; adds it."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".-")[-120:] or "unnamed"
    choice, number = safe, 1
    while choice.casefold() in used:
        number += 1
        stem, dot, suffix = safe.partition(".")
        choice = f"{stem}-{number}{dot}{suffix}"
    used.add(choice.casefold())
    return choice
