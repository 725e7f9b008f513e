"""The results of a job as files of one directory: STAC documents with relative links, and their assets. Pure.

Layout: `catalog.json`, the platform's own `collection.json` (or item), `<item>.json`, and the assets, all beside each
other below `stac/`; `job-results.json` is what the platform said, without signatures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from broker.errors import PlatformRefused
from broker.jobs.record import unsigned_value
from broker.jobs.secrets import unsigned
from broker.packages.openeo import ASSETS, STAC
from broker.platform import OutputFile

OUTPUTS: Mapping[str, Mapping[str, Any]] = {
    STAC: {"type": "Directory"},
    ASSETS: {"type": "File[]", "glob": "*"},
}
MOST = 10_000  # assets, and items


@dataclass(frozen=True, slots=True)
class Part:
    """One file: a document by `text`, or an asset at `href` (an address that may be signed, and may expire)."""

    path: str
    media_type: str
    text: str | None = None
    href: str | None = None
    size: int | None = None
    sha256: str | None = None

    def file(self) -> OutputFile:
        size = self.size if self.text is None else len(self.text.encode())
        return OutputFile(self.path, self.path, size, self.media_type, self.sha256)


class Layout:
    """Takes the documents of a job's results; gives its files."""

    def __init__(self, results: Mapping[str, Any], items: Sequence[Mapping[str, Any]] = ()) -> None:
        self._taken = {"catalog.json", "collection.json", "job-results.json"}
        self._assets: dict[str, Part] = {}  # by address without its query
        self.derived: list[str] = []
        is_item = results.get("type") == "Feature"
        whole = [] if is_item else [results]
        documents = [*items, results] if is_item else [*items]
        names = [self._name(f"{_safe(str(one.get('id') or 'item'))}.json") for one in documents]
        rel = "item" if is_item else "child"
        found = [self._item(one, name, [*whole]) for one, name in zip(documents, names, strict=True)]
        if whole:
            found.append(self._collection(results, names))
        first = "collection.json" if whole else names[-1]
        self.parts = (
            _document("catalog.json", _catalog(results, rel, first)),
            *found,
            _document("job-results.json", unsigned_value(results)),
            *self._assets.values(),
        )

    def outputs(self, wanted: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
        """The CWL output object: of an openEO process, or the outputs that a tool wants by type and pattern.

        Raises PlatformRefused where a file that is wanted is not among the assets.
        """
        return {name: self._output(name, one) for name, one in (wanted or OUTPUTS).items()}

    def _output(self, name: str, wanted: Mapping[str, Any]) -> Any:
        if wanted["type"] == "Directory":
            return {"class": "Directory", "location": STAC, "basename": STAC}
        names = [(part.path, PurePosixPath(part.path).name) for part in self._assets.values()]
        files = [
            {"class": "File", "location": path, "basename": base}
            for path, base in names
            if fnmatchcase(base, wanted["glob"])
        ]
        if wanted["type"] == "File[]":
            return files
        if files or wanted["optional"]:
            return files[0] if files else None
        there = ", ".join(base for _, base in names[:20]) or "nothing"
        text = f"The output {name} is {wanted['glob']}, and the results have {there}."
        raise PlatformRefused(text, fault_of="package", code="output-missing")

    def named(self, path: str) -> Part:
        """Raises PlatformRefused where there is no such file."""
        for part in self.parts:
            if part.path == path:
                return part
        raise PlatformRefused(f"The results have no file {path!r}.", code="output-missing")

    def _item(self, item: Mapping[str, Any], name: str, collections: Sequence[Any]) -> Part:
        home = "./collection.json" if collections else "./catalog.json"
        links = [_link("root", "./catalog.json"), _link("parent", home)]
        if collections:
            links.append(_link("collection", home))
        more = {"collection": str(collections[0].get("id"))} if collections else {}
        return self._kept(item, name, links, more)

    def _collection(self, results: Mapping[str, Any], names: Sequence[str]) -> Part:
        links = [_link("root", "./catalog.json"), _link("parent", "./catalog.json")]
        links += [_link("item", f"./{name}", "application/geo+json") for name in names]
        return self._kept(results, "collection.json", links, {})

    def _kept(
        self, document: Mapping[str, Any], name: str, links: list[dict[str, str]], more: Mapping[str, Any]
    ) -> Part:
        """A document as it was, with the given links and assets beside it."""
        kept = []
        for link in document.get("links") or ():
            if isinstance(link, Mapping) and link.get("rel") in ("derived_from", "license", "cite-as", "about"):
                kept.append({**link, "href": unsigned(str(link.get("href")))})
                if link.get("rel") == "derived_from" and link.get("href") not in self.derived:
                    self.derived.append(unsigned(str(link["href"])))
        assets = {
            key: {**asset, "href": f"./{PurePosixPath(self._asset(str(key), asset).path).name}"}
            for key, asset in (document.get("assets") or {}).items()
            if isinstance(asset, Mapping) and isinstance(asset.get("href"), str)
        }
        return _document(name, {**document, **more, "links": links + kept} | ({"assets": assets} if assets else {}))

    def _asset(self, key: str, asset: Mapping[str, Any]) -> Part:
        """The file of an asset; the same address, which items and their collection both name, is one file."""
        plain = asset["href"].partition("?")[0]
        if plain not in self._assets:
            if len(self._assets) >= MOST:
                raise PlatformRefused(
                    f"The job left more than {MOST} files.", fault_of="limit", code="output-too-large"
                )
            size = asset.get("file:size")
            checksum = re.fullmatch(r"1220([0-9a-f]{64})", str(asset.get("file:checksum")))
            last = unquote(PurePosixPath(urlsplit(plain).path).name)
            name = key if "." in key else last if "." in last else key
            self._assets[plain] = Part(
                f"{STAC}/{self._name(_safe(name))}",
                str(asset.get("type") or "application/octet-stream"),
                href=asset["href"],
                size=size if isinstance(size, int) and size >= 0 else None,
                sha256=checksum[1] if checksum else None,
            )
        return self._assets[plain]

    def _name(self, wanted: str) -> str:
        """A name that is free in the directory."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{number}_{wanted}"
        self._taken.add(name)
        return name


def _safe(name: str) -> str:
    """A file name: the last part of a path, with nothing in it that a file system or a URL would read otherwise."""
    last = re.sub(r"[^\w.+=-]", "_", name.rpartition("/")[2]).lstrip(".")
    return last[-150:] or "asset"


def _document(name: str, value: Mapping[str, Any]) -> Part:
    kind = "application/geo+json" if value.get("type") == "Feature" else "application/json"
    return Part(f"{STAC}/{name}", kind, text=json.dumps(value, indent=1, ensure_ascii=False))


def _link(rel: str, href: str, kind: str = "application/json") -> dict[str, str]:
    return {"rel": rel, "href": href, "type": kind}


def _catalog(results: Mapping[str, Any], rel: str, first: str) -> dict[str, Any]:
    name = str(results.get("id") or "results")
    return {
        "type": "Catalog",
        "stac_version": str(results.get("stac_version") or "1.0.0"),
        "id": f"{name}-catalog" if rel == "child" else name,
        "description": str(results.get("description") or "Results of an openEO job."),
        "links": [_link("root", "./catalog.json"), _link(rel, f"./{first}")],
    }


def item_links(results: Mapping[str, Any]) -> list[str]:
    """The addresses of the items of a collection."""
    links = results.get("links") or ()
    return [
        str(one["href"]) for one in links if isinstance(one, Mapping) and one.get("rel") == "item" and one.get("href")
    ]
