"""The rules of the Open Science Catalog: what of its files the catalog's own validator would refuse, before it does.

A port of the behaviour of ESA-EarthCODE/open-science-catalog-validation (1.0.0-rc.15): the same verdict for each file,
but for extensions that have no schema in `schemas/` (docs/validator-verdicts.md). `broker.results.strictrules` adds
what that validator lets through.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from broker.results.catalogschemas import EXTENSIONS, broken, broken_core, broken_extension
from broker.results.osc import FILES, HOME, RECORD_CORE, THEMES, Catalog, Finding, entry_path, links_of, objects, target
from broker.results.tree import Tree
from broker.results.webp import webp_shape

_UNSEEN = re.compile(r"0\.|1\.0\.0-(?:alpha|beta)")  # versions of STAC that the validator skips
_ENTRY = re.compile(r"(?P<folder>[a-z-]+)/(?P<id>[^/]+)/(?P<file>catalog|collection|record)\.json\Z")


def check(tree: Tree, paths: Iterable[str], *, whole: bool = False) -> list[Finding]:
    """The findings on these files (`.json`), which see the rest of the tree.

    `whole`: also the titles of the many entries that a folder or a theme lists and that are not among the files;
    looking at them means to read them all.
    """
    catalog, wanted = Catalog(tree), sorted(set(paths))
    touched = frozenset(wanted)
    return [
        finding
        for path in wanted
        if path.endswith(".json")
        for finding in _Document(catalog, path, None if whole else touched).findings()
    ]


class _Document:
    def __init__(self, catalog: Catalog, path: str, touched: Collection[str] | None) -> None:
        self.catalog, self.path, self.touched = catalog, path, touched
        self.data: dict[str, Any] = {}
        self.links: list[dict[str, Any]] = []

    def findings(self) -> Iterator[Finding]:
        data = self.catalog.document(self.path)
        if not isinstance(data, dict):
            yield Finding(self.path, "json", "is not a JSON object")
            return
        self.data = data
        self.links = links_of(data)
        version = data.get("stac_version", "1.0.0")
        if not isinstance(version, str) or _UNSEEN.match(version):
            yield Finding(self.path, "stac-version", "stac_version must be 1.0.0 or 1.1.0", official=False)
            return
        for rule, message in self._record() if "stac_version" not in data else self._stac():
            yield Finding(self.path, rule, message)

    def _record(self) -> Iterator[tuple[str, str]]:
        for message in broken(self.data, "records.json"):
            yield "schema", message
        match = re.search(r"(workflows|experiments)/[^/]+/record\.json\Z", self.path)
        if match is None:
            return
        for message in broken(self.data, f"{match[1]}/children.json"):
            yield "schema", message
        classes = self.data.get("conformsTo")
        if not isinstance(classes, list) or RECORD_CORE not in classes:
            yield "conformance", f"conformsTo must have {RECORD_CORE}"
        yield from self._own("Feature")
        yield from self._up("../catalog.json", "../../catalog.json")
        properties = self.data.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        if match[1] == "workflows":
            yield from self._children("experiments")
            yield from self._first_relative(("related", "parent"))
            yield from self._refers(properties.get("osc:project"), "projects", "osc:project")
        else:
            yield from self._children("products")
            yield from self._first_relative(("related", "parent"))
            yield from self._refers(properties.get("osc:workflow"), "workflows", "osc:workflow")
            for rel in ("environment", "input"):
                yield from self._has(rel)

    def _stac(self) -> Iterator[tuple[str, str]]:
        for message in broken_core(self.data):
            yield "schema", message
        listed = self.data.get("stac_extensions")
        for extension in listed if isinstance(listed, list) else ():
            if not str(extension).startswith(("https://", "http://")):
                yield "extension", f"stac_extensions must have addresses of schemas, not {extension!r}"
                continue
            for message in broken_extension(self.data, extension):
                yield "schema", message
        if self.data["stac_version"] not in ("1.0.0", "1.1.0"):
            yield "stac-version", "stac_version must be 1.0.0 or 1.1.0"
        if self.data.get("type") in ("Catalog", "Collection") and not self.catalog.title(self.path):
            yield "title", "has no title"
        yield from self._place()

    def _place(self) -> Iterator[tuple[str, str]]:
        parts = self.path.split("/")
        match = _ENTRY.match(self.path)
        if parts[0] == "products" and len(parts) > 2 and not (match and match["file"] == "collection"):
            return  # what belongs to a product may be anything
        if len(parts) == 2 and parts[0] in FILES and parts[1] == "catalog.json":
            yield from self._folder(parts[0])
        elif self.path == "catalog.json" and self.data.get("id") == "osc":
            yield from self._root()
        elif match and FILES.get(match["folder"]) == match["file"]:
            yield from self._entry(match["folder"])
        else:
            yield "location", "does not belong here: the catalog knows no such place"

    def _root(self) -> Iterator[tuple[str, str]]:
        if self.data.get("type") != "Catalog" or self.data.get("title") != "Open Science Catalog":
            yield "root", "must be a Catalog with the title 'Open Science Catalog'"
        yield from self._link_to("root", "./catalog.json")
        if self._link("parent"):
            yield "root", "must not have a parent"
        yield from self._first_relative(("related", "parent", "item", "child"))
        yield from self._lists("child", {f"{folder}/catalog.json" for folder in FILES})

    def _folder(self, folder: str) -> Iterator[tuple[str, str]]:
        for message in broken(self.data, "catalog.json"):
            yield "schema", message
        yield from self._own("Catalog")
        yield from self._up("../catalog.json", "../catalog.json")
        yield from self._first_relative(("related", "parent", "item", "child"))
        rel = "item" if FILES[folder] == "record" else "child"
        yield from self._lists(rel, {entry_path(folder, name) for name in self.catalog.entries.get(folder, ())})
        for link in self.links:
            if link.get("rel") not in ("root", "parent", "self", rel):
                yield "schema", f"a link with rel={link.get('rel')} is not taken in the list of a folder"
            elif link.get("type", "application/json") != "application/json":
                yield "schema", f"the link with rel={link['rel']} must have the type application/json"

    def _entry(self, folder: str) -> Iterator[tuple[str, str]]:
        collection = FILES[folder] == "collection"
        for message in broken(self.data, f"{folder}/children.json") if collection else ():
            yield "schema", message
        yield from self._own("Collection" if collection else "Catalog")
        needed = {"products": ("osc",), "projects": ("osc", "contacts"), "variables": ("themes",)}.get(folder, ())
        for extension in needed:
            yield from self._extends(extension)
        yield from self._picture() if folder == "themes" else self._has("via")
        yield from self._up("../catalog.json", "../../catalog.json")
        if folder == "products":
            yield from self._first_relative(("related", "parent"))
            yield from self._product()
        else:
            yield from self._children("products")
            yield from self._first_relative(("related", "parent", "item", "child"))
        if folder == "projects":
            yield from self._officer()
            for value in self._values("osc:workflows"):
                yield from self._refers(value, "workflows", "osc:workflows")
        if folder in ("products", "projects", "variables"):
            yield from self._themes()

    def _product(self) -> Iterator[tuple[str, str]]:
        yield from self._refers(self.data.get("osc:project"), "projects", "osc:project")
        for name, folder in (("osc:variables", "variables"), ("osc:missions", "eo-missions")):
            for value in self._values(name):
                yield from self._refers(value, folder, name)
        if self.data.get("osc:experiment"):
            yield from self._refers(self.data["osc:experiment"], "experiments", "osc:experiment")

    def _values(self, name: str) -> list[Any]:
        found = self.data.get(name)
        return found if isinstance(found, list) else []

    def _own(self, kind: str) -> Iterator[tuple[str, str]]:
        if self.data.get("type") != kind:
            yield "type", f"type must be {kind}"
        if self.data.get("id") != self.path.split("/")[-2]:
            yield "id", "id must be the name of the folder"

    def _link(self, rel: str) -> dict[str, Any] | None:
        return next((one for one in self.links if one.get("href") and one.get("rel") == rel), None)

    def _has(self, rel: str) -> Iterator[tuple[str, str]]:
        if self._link(rel) is None:
            yield f"{rel}-link", f"must have a link with rel={rel}"

    def _up(self, parent: str, root: str) -> Iterator[tuple[str, str]]:
        yield from self._link_to("parent", parent)
        yield from self._link_to("root", root)

    def _link_to(self, rel: str, href: str) -> Iterator[tuple[str, str]]:
        link = self._link(rel)
        if link is None:
            yield f"{rel}-link", f"must have a link with rel={rel}"
            return
        if target(self.path, link["href"]) != target(self.path, href):
            yield f"{rel}-link", f"the link with rel={rel} must lead to {href}"
        if link.get("type") != "application/json":
            yield f"{rel}-link", f"the link with rel={rel} must have the type application/json"
        yield from self._titled(link)

    def _titled(self, link: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        title = self.catalog.title(target(self.path, str(link["href"])))
        if title is not None and link.get("title") != title:
            yield "link-title", f"the link to {link['href']} must have the title {title!r}, that of the file"

    def _listed_titles(self, link: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        if self.touched is None or target(self.path, str(link["href"])) in self.touched:
            yield from self._titled(link)

    def _first_relative(self, rels: Collection[str]) -> Iterator[tuple[str, str]]:
        """The links until the first of these, which must be relative: the validator looks no further."""
        for link in self.links:
            href = str(link.get("href"))
            if link.get("rel") == "self":
                if not href.startswith(HOME):
                    yield "self-link", f"the link with rel=self must begin with {HOME}"
            elif link.get("rel") in rels:
                if "://" in href:
                    yield "relative-link", f"the link to {href} must be relative"
                return

    def _children(self, folder: str) -> Iterator[tuple[str, str]]:
        for link in self.links:
            if link.get("rel") != "child":
                continue
            href = str(link.get("href"))
            if link.get("type") != "application/json":
                yield "child-link", f"the link to {href} must have the type application/json"
            parts = href.split("/")
            if parts[-3:-2] != [folder] or parts[-1] != f"{FILES[folder]}.json":
                yield "child-link", f"a link with rel=child leads to a {FILES[folder]}.json of {folder}, not to {href}"
            yield from self._listed_titles(link)
            if target(self.path, href) not in self.catalog.paths:
                yield "child-file", f"there is no file for the link with rel=child to {href}"

    def _lists(self, rel: str, files: Collection[str]) -> Iterator[tuple[str, str]]:
        listed = set()
        for link in self.links:
            if link.get("rel") == rel and link.get("href"):
                listed.add(target(self.path, str(link["href"])))
                if link.get("type") != "application/json":
                    yield "child-link", f"the link to {link['href']} must have the type application/json"
                yield from self._listed_titles(link)
        for file in sorted(set(files) - listed):
            yield "folder-entry", f"must have a link with rel={rel} to {file}"
        for file in sorted(listed - set(files)):
            yield "folder-file", f"there is no file for the link with rel={rel} to {file}"

    def _refers(self, value: Any, folder: str, name: str) -> Iterator[tuple[str, str]]:
        if not isinstance(value, str):
            yield "reference", f"{name} must be a text"
            return
        if entry_path(folder, value) not in self.catalog.paths:
            yield "reference", f"{name}: there is no {value!r} in {folder}"
        yield from self._related(folder, value)

    def _related(self, folder: str, value: str) -> Iterator[tuple[str, str]]:
        ending = "/" + entry_path(folder, value)
        link = next((x for x in self.links if x.get("rel") == "related" and str(x.get("href")).endswith(ending)), None)
        if link is None:
            yield "related-link", f"must have a link with rel=related to {value!r} of {folder}"
        elif link.get("type") != "application/json":
            yield "related-link", f"the link with rel=related to {value!r} must have the type application/json"

    def _extends(self, extension: str) -> Iterator[tuple[str, str]]:
        listed = self.data.get("stac_extensions")
        if not isinstance(listed, list) or EXTENSIONS[extension] not in listed:
            yield "extension", f"stac_extensions must have {EXTENSIONS[extension]}"

    def _themes(self) -> Iterator[tuple[str, str]]:
        yield from self._extends("themes")
        own = next((one for one in objects(self.data.get("themes")) if one.get("scheme") == THEMES), None)
        if own is None or not isinstance(own.get("concepts"), list):
            yield "themes", f"must have themes with the scheme {THEMES} and concepts"
            return
        for concept in own["concepts"]:
            yield from self._refers(concept.get("id") if isinstance(concept, dict) else None, "themes", "themes")

    def _picture(self) -> Iterator[tuple[str, str]]:
        yield from self._has("preview")
        link = self._link("preview")
        if link is None:
            return
        if link.get("type") != "image/webp" or link.get("proj:epsg") is not None:
            yield "preview-link", "the link with rel=preview must have the type image/webp and no proj:epsg"
        path = target(self.path, link["href"])
        shape = webp_shape(self.catalog.tree.read(path) or b"") if self.touched is None else link.get("proj:shape")
        if path not in self.catalog.paths or shape is None or link.get("proj:shape") != shape:
            yield "preview-link", f"{link['href']} must be a picture of the size in proj:shape"

    def _officer(self) -> Iterator[tuple[str, str]]:
        people = objects(self.data.get("contacts"))
        roles = [one["roles"] if isinstance(one.get("roles"), list) else () for one in people]
        officer = next((one for one, has in zip(people, roles, strict=True) if "technical_officer" in has), {})
        emails = officer.get("emails")
        first = emails[0] if isinstance(emails, list) and emails and isinstance(emails[0], dict) else {}
        if len(str(officer.get("name") or "")) < 2 or len(str(first.get("value") or "")) < 2:
            yield "technical-officer", "must have a contact with the role technical_officer, a name and an e-mail"
