"""The Open Science Catalog as documents: where each kind of entry lies, how links are read, and what is found wrong."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from broker.results.tree import Tree

HOME = "https://esa-earthcode.github.io/open-science-catalog-metadata/"
RECORD_CORE = "http://www.opengis.net/spec/ogcapi-records-1/1.0/req/record-core"
THEMES = "https://github.com/stac-extensions/osc#theme"
FILES = {  # folder -> what the file of an entry is called
    "eo-missions": "catalog",
    "products": "collection",
    "projects": "collection",
    "themes": "catalog",
    "variables": "catalog",
    "workflows": "record",
    "experiments": "record",
}
PREFIXES = {  # of the title of a link with rel=related
    "projects": "Project",
    "products": "Product",
    "experiments": "Experiment",
    "workflows": "Workflow",
    "themes": "Theme",
    "variables": "Variable",
    "eo-missions": "EO Mission",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a file. `official`: the catalog's own validator refuses it too."""

    path: str
    rule: str
    message: str
    official: bool = True

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def entry_path(folder: str, name: str) -> str:
    """Where an entry of a folder lies."""
    return f"{folder}/{name}/{FILES[folder]}.json"


class Catalog:
    """The documents of a tree, parsed when they are asked for."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self._documents: dict[str, Any] = {}

    @cached_property
    def paths(self) -> frozenset[str]:
        return frozenset(self.tree.paths())

    @cached_property
    def entries(self) -> dict[str, set[str]]:
        """Folder -> the names of the folders in it."""
        found: dict[str, set[str]] = {}
        for path in self.paths:
            parts = path.split("/")
            if len(parts) > 2:
                found.setdefault(parts[0], set()).add(parts[1])
        return found

    def document(self, path: str) -> Any:
        """The JSON in a file; None where there is no file, or it is not JSON. It may have any shape."""
        if path not in self._documents:
            raw = self.tree.read(path) if path in self.paths else None
            try:
                self._documents[path] = None if raw is None else json.loads(raw)
            except (ValueError, RecursionError):
                self._documents[path] = None
        return self._documents[path]

    def members(self, path: str) -> Mapping[str, Any]:
        """What a file says of its entry: the properties of a record, the document of others."""
        document = self.document(path)
        if not isinstance(document, dict):
            return {}
        holder = document.get("properties") if document.get("type") == "Feature" else document
        return holder if isinstance(holder, dict) else {}

    def title(self, path: str) -> str | None:
        title = self.members(path).get("title")
        return title.encode(errors="replace").decode() if isinstance(title, str) else None


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; nothing where it is none, as in documents that others made badly."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def links_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The links of a document; one without an address leads to `""`."""
    found = objects(document.get("links"))
    return [one if isinstance(one.get("href"), str) else {**one, "href": ""} for one in found]


def target(path: str, href: str) -> str:
    """The path that a link of a document leads to, as the catalog's validator reads it; other addresses come out as
    paths that no file has."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), href.removeprefix(HOME)))
