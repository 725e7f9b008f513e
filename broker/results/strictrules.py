"""Rules that the catalog's own validator lets through: what it looks at only in part, and what a reader trips over.

They are for records that we make; many published ones break them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import yaml

from broker.results.osc import FILES, HOME, PREFIXES, THEMES, Catalog, Finding, entry_path, links_of, objects, target
from broker.results.tree import Tree

_DOI = re.compile(r"10\.\d{4,9}/\S+\Z")
_ORCID = re.compile(r"(?:https://orcid\.org/)(\d{4}-\d{4}-\d{4}-\d{3}[\dX])\Z")

_OFFICIAL = frozenset({"related-title"})  # looks into other files, as all rules here do, and counts there too


def check_strictly(tree: Tree, paths: Iterable[str]) -> list[Finding]:
    """The findings on workflows, experiments and products (`.json`) among these files, which see the rest of the tree.
    The rules of `broker.results.rules` are not among them."""
    catalog = Catalog(tree)
    found = []
    for path in sorted(set(paths)):
        parts = path.split("/")
        record = len(parts) == 3 and parts[0] in _RULES and parts[2] == f"{FILES[parts[0]]}.json"
        data = catalog.document(path) if record else None
        if isinstance(data, dict):
            rules = _Record(catalog, path, data)
            found += [Finding(path, rule, text, rule in _OFFICIAL) for rule, text in rules.findings()]
    return found


def orcid(text: str) -> str | None:
    """An ORCID iD as its address (`https://orcid.org/...`); None where the text is none (ISO 7064 MOD 11-2)."""
    found = _ORCID.match(text if "/" in text else f"https://orcid.org/{text}")
    if found is None:
        return None
    total = 0
    for digit in found[1].replace("-", "")[:-1]:
        total = (total + int(digit)) * 2
    rest = (12 - total % 11) % 11
    return found[0] if found[1][-1] == ("X" if rest == 10 else str(rest)) else None


class _Record:
    def __init__(self, catalog: Catalog, path: str, data: dict[str, Any]) -> None:
        self.catalog, self.path, self.data = catalog, path, data
        self.folder, self.name = path.split("/")[:2]
        properties = data.get("properties") if self.folder != "products" else data
        self.properties: Mapping[str, Any] = properties if isinstance(properties, dict) else {}
        self.links = links_of(data)
        own = [one for one in objects(self.properties.get("themes")) if one.get("scheme") == THEMES]
        self.themes = [str(concept.get("id")) for one in own for concept in objects(one.get("concepts"))]

    def findings(self) -> Iterator[tuple[str, str]]:
        yield from self._links()
        yield from self._files()
        yield from self._themes()
        yield from self._values()
        yield from _RULES[self.folder](self)

    def _links(self) -> Iterator[tuple[str, str]]:
        own = [one.get("href") for one in self.links if one.get("rel") == "self"]
        if own != [HOME + self.path]:
            yield "self-link", f"must have one link with rel=self, to {HOME}{self.path}"
        seen = Counter((str(one.get("rel")), target(self.path, str(one.get("href")))) for one in self.links)
        for (rel, href), count in seen.items():
            if count > 1:
                yield "twice", f"has {count} links with rel={rel} to {href}"
        for link in self.links:
            yield from self._link(str(link.get("rel")), str(link.get("href")), link)

    def _link(self, rel: str, href: str, link: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if rel == "self":
            return
        if href.startswith(HOME):
            yield "relative-link", f"the link to {href} must be relative"
            return
        if "://" in href:
            if rel == "parent":
                yield "relative-link", f"the link to {href} must be relative"
            return
        path = target(self.path, href)
        if path not in self.catalog.paths:
            yield "dangling", f"there is no file for the link with rel={rel} to {href}"
            return
        folder = path.split("/")[0]
        title = self.catalog.title(path)
        if rel == "related" and title is not None and link.get("title") != f"{PREFIXES.get(folder)}: {title}":
            yield "related-title", f"the link to {href} must have the title '{PREFIXES.get(folder)}: {title}'"
        if rel == "related" and folder == "products":
            yield "product-related", f"the product {href} must be linked with rel=child"

    def _files(self) -> Iterator[tuple[str, str]]:
        """What lies beside the record."""
        for link in self.links:
            href = str(link.get("href"))
            path = target(self.path, href)
            if "://" in href or not path.startswith(f"{self.folder}/{self.name}/") or path == self.path:
                continue
            raw = self.catalog.tree.read(path)
            if raw is None:
                continue  # said already
            if not raw.strip():
                yield "empty", f"{href} is empty"
            elif path.endswith((".yaml", ".yml")) and not _is_mapping(raw):
                yield "yaml", f"{href} is not a YAML document with members"

    def _themes(self) -> Iterator[tuple[str, str]]:
        for theme in self.themes:
            yield from self._refers("themes", theme)

    def _refers(self, folder: str, name: str) -> Iterator[tuple[str, str]]:
        path = entry_path(folder, name)
        if path not in self.catalog.paths:
            yield "reference", f"there is no {name!r} in {folder}"
        if not self._leads("related", path):
            yield "related-link", f"must have a link with rel=related to {name!r} of {folder}"

    def _leads(self, rel: str, path: str) -> bool:
        return any(one.get("rel") == rel and target(self.path, str(one.get("href"))) == path for one in self.links)

    def _values(self) -> Iterator[tuple[str, str]]:
        for name in ("title", "description", "license", "created", "updated"):
            if not self.properties.get(name):
                yield "missing", f"must have {name}"
        if (doi := self.properties.get("sci:doi")) is not None and not _DOI.match(str(doi)):
            yield "doi", f"sci:doi must be a DOI as 10.5281/zenodo.123, not {doi!r}"
        for contact in objects(self.properties.get("contacts")):
            identifier = str(contact.get("identifier") or "")
            if "orcid.org" in identifier and orcid(identifier) is None:
                yield "orcid", f"{identifier} is not an ORCID iD"

    def _workflow(self) -> Iterator[tuple[str, str]]:
        yield from self._refers("projects", str(self.properties.get("osc:project")))
        yield from self._listed(str(self.properties.get("osc:project")), "related")
        if not any(one.get("rel") in ("application", "process_graph", "vcs") for one in self.links):
            yield (
                "workflow-link",
                "must link what can be run (rel=application, process_graph) or its source (rel=vcs)",
            )

    def _experiment(self) -> Iterator[tuple[str, str]]:
        workflow = entry_path("workflows", str(self.properties.get("osc:workflow")))
        yield from self._refers("workflows", str(self.properties.get("osc:workflow")))
        if self.properties.get("osc:project"):
            yield from self._refers("projects", str(self.properties["osc:project"]))
        yield from self._lists(workflow, "child")
        for link in self.links:
            path = target(self.path, str(link.get("href")))
            if link.get("rel") == "child" and path in self.catalog.paths:
                yield from self._lists(path, "related")

    def _product(self) -> Iterator[tuple[str, str]]:
        for name, folder in (("osc:variables", "variables"), ("osc:missions", "eo-missions")):
            values = self.data.get(name)
            for value in values if isinstance(values, list) else ():
                yield from self._lists(entry_path(folder, str(value)), "child")
        yield from self._listed(str(self.data.get("osc:project")), "child")
        if isinstance(experiment := self.data.get("osc:experiment"), str):
            yield from self._lists(entry_path("experiments", experiment), "child")
        yield from self._extent()

    def _listed(self, project: str, rel: str) -> Iterator[tuple[str, str]]:
        """The project and the themes that a record names lead back to it."""
        yield from self._lists(entry_path("projects", project), rel)
        for theme in self.themes:
            yield from self._lists(entry_path("themes", theme), rel)

    def _lists(self, path: str, rel: str) -> Iterator[tuple[str, str]]:
        document = self.catalog.document(path)
        if not isinstance(document, Mapping):
            return  # that it is not there is said elsewhere
        for link in links_of(document):
            if link.get("rel") == rel and target(path, str(link.get("href"))) == self.path:
                return
        yield "back-link", f"{path} must have a link with rel={rel} back to it"

    def _extent(self) -> Iterator[tuple[str, str]]:
        extent = self.data.get("extent")
        try:
            boxes, intervals = extent["spatial"]["bbox"], extent["temporal"]["interval"]  # type: ignore[index]
            for west, south, east, north in boxes:
                if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
                    yield "extent", f"{[west, south, east, north]} is not a box of longitudes and latitudes"
            for start, end in intervals:
                if start is None and end is None:
                    yield "extent", "the time has neither a beginning nor an end"
                elif start is not None and end is not None and moment_of(start) > moment_of(end):
                    yield "extent", f"the time ends ({end}) before it begins ({start})"
        except (KeyError, TypeError, ValueError):
            yield "extent", "has no usable extent"


_RULES = {"workflows": _Record._workflow, "experiments": _Record._experiment, "products": _Record._product}


def moment_of(text: str) -> datetime:
    """Raises ValueError."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"no time zone: {text}")
    return found


def _is_mapping(raw: bytes) -> bool:
    try:
        return isinstance(yaml.safe_load(raw), dict)
    except (yaml.YAMLError, UnicodeDecodeError):
        return False
