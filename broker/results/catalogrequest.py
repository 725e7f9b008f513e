"""What a publication in the catalog is asked with: read and checked whole, every problem named with what is allowed.

| member | |
|---|---|
| project, themes | of the catalog; required |
| title, description, licence | of what has none of its own; required; the licence an SPDX identifier |
| variables, missions | of the catalog, for products |
| keywords, contacts | contacts: {name, organization, email, orcid, roles} |
| status, region | `completed` (default), `ongoing`, `planned`; a text |
| doi | `10.…/…`, `requested` (default: the catalog's bot proposes one) or `declined` |
| extent | {bbox: [west, south, east, north], interval: [start, end or null]}; required for a new product |
| parameters | of a product: {name, unit} (`cf:parameter`) |
| collection, browser | address of the product's STAC collection (PRR), and of a page that shows it |
| access | where data is that lies elsewhere: {href, title, type} |
| records | which to write: workflow, experiment, product; by default all that can be made |
| workflow, experiment, product | what one has of its own: {id, title, description, keywords, licence, doi, version} |
| previous | the publication that this one corrects |
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from broker.errors import InputError, InputProblem
from broker.results.catalogschemas import licences
from broker.results.osc import FILES, Catalog, entry_path
from broker.results.strictrules import moment_of, orcid

KINDS = ("workflow", "experiment", "product")
STATUS = ("planned", "ongoing", "completed")
DOI = re.compile(r"10\.\d{4,9}/\S+\Z")
ID = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?\Z")
_TEXTS = ("project", "title", "description", "licence", "status", "region", "doi", "collection", "browser", "previous")
_LISTS = ("themes", "variables", "missions", "keywords", "records")
MEMBERS = (*_TEXTS, *_LISTS, "contacts", "extent", "parameters", "access", *KINDS)
_OF_A_RECORD = ("id", "title", "description", "keywords", "licence", "doi", "version")
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")


@dataclass(frozen=True, slots=True)
class CatalogRequest:
    """A request without problems; the members as above."""

    records: tuple[str, ...]
    project: str
    themes: tuple[str, ...]
    values: Mapping[str, Any] = field(repr=False)

    def of(self, kind: str, name: str) -> Any:
        """A value for one kind of record: its own, else that of all; None where there is neither."""
        own = self.values.get(kind) or {}
        return own[name] if own.get(name) else self.values.get(name)

    def own(self, kind: str, name: str) -> Any:
        return (self.values.get(kind) or {}).get(name)

    def listed(self, name: str) -> list[Any]:
        return list(self.values.get(name) or ())


def read(document: Mapping[str, Any], catalog: Catalog, possible: Iterable[str]) -> CatalogRequest:
    """The request against a catalog. `possible`: the kinds of records that can be made of what is published.

    Raises InputError with every problem.
    """
    able = tuple(kind for kind in KINDS if kind in set(possible))
    problems = [*shapes(document)]
    if problems:
        raise InputError(*problems)
    records = tuple(document.get("records") or able)
    problems += _records(records, able)
    problems += _vocabulary(document, catalog)
    problems += _texts(document, records)
    problems += people(document.get("contacts") or ())
    problems += _product(document, records, catalog)
    if problems:
        raise InputError(*problems)
    return CatalogRequest(records, document["project"], tuple(document["themes"]), dict(document))


def shapes(document: Mapping[str, Any]) -> Iterator[InputProblem]:
    """What is wrong with the members of a request, or of a part of one, whatever the catalog."""
    for name in document:
        if name not in MEMBERS:
            near = get_close_matches(name, MEMBERS, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(MEMBERS)}"
            yield InputProblem(f"/{name}", f"is not known{hint}")
    for name in _TEXTS:
        if name in document and not _is_text(document[name]):
            yield InputProblem(f"/{name}", "must be a text that is not empty")
    for name in _LISTS:
        if name in document and not _is_texts(document[name]):
            yield InputProblem(f"/{name}", "must be a list of different texts")
    for name in ("contacts", "parameters", "access"):
        found = document.get(name, [])
        if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
            yield InputProblem(f"/{name}", "must be a list of objects")
    for kind in KINDS:
        yield from _shape_of(kind, document.get(kind, {}))
    if not isinstance(document.get("extent", {}), Mapping):
        yield InputProblem("/extent", "must be an object")


def _shape_of(kind: str, own: Any) -> Iterator[InputProblem]:
    """What one record has of its own."""
    if not isinstance(own, Mapping):
        yield InputProblem(f"/{kind}", "must be an object")
        return
    for name, value in own.items():
        if name not in _OF_A_RECORD:
            yield InputProblem(f"/{kind}/{name}", f"is not known; known are {', '.join(_OF_A_RECORD)}")
        elif not (_is_texts(value) if name == "keywords" else _is_text(value)):
            yield InputProblem(f"/{kind}/{name}", f"must be a {'list of texts' if name == 'keywords' else 'text'}")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\x00" not in value


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value)) and len(set(value)) == len(value)


def _records(records: tuple[str, ...], able: tuple[str, ...]) -> Iterator[InputProblem]:
    for kind in records:
        if kind not in KINDS:
            yield InputProblem("/records", f"there is no {kind!r}; known are {', '.join(KINDS)}")
        elif kind not in able:
            yield InputProblem("/records", f"no {kind} can be made of this; possible: {', '.join(able) or 'nothing'}")


def _vocabulary(document: Mapping[str, Any], catalog: Catalog) -> Iterator[InputProblem]:
    for name, folder in (("project", "projects"), ("themes", "themes")):
        if not document.get(name):
            allowed = _allowed("", catalog.entries.get(folder, set()))
            yield InputProblem(f"/{name}", f"is missing: {allowed}")
    wanted = [("project", "projects", document["project"])] if document.get("project") else []
    for name, folder in (("themes", "themes"), ("variables", "variables"), ("missions", "eo-missions")):
        wanted += [(name, folder, value) for value in document.get(name) or ()]
    for name, folder, value in wanted:
        if entry_path(folder, value) not in catalog.paths:
            allowed = _allowed(value, catalog.entries.get(folder, set()))
            yield InputProblem(f"/{name}", f"there is no {value!r} in {folder} of the catalog: {allowed}")


def _allowed(value: str, names: set[str]) -> str:
    if len(names) <= 12:
        return f"allowed are {', '.join(sorted(names))}"
    near = get_close_matches(value, names, 5, 0.4) or sorted(one for one in names if value and value in one)[:5]
    return f"near are {', '.join(near)}" if near else f"{len(names)} are allowed, see the catalog's list"


def _texts(document: Mapping[str, Any], records: tuple[str, ...]) -> Iterator[InputProblem]:
    for name in ("title", "description", "licence"):
        lacking = [kind for kind in records if not ((document.get(kind) or {}).get(name) or document.get(name))]
        if lacking:
            hint = ": an SPDX identifier such as CC-BY-4.0, or proprietary, or various" if name == "licence" else ""
            yield InputProblem(f"/{name}", f"is missing, for {', '.join(lacking)}{hint}")
    if document.get("status", "completed") not in STATUS:
        yield InputProblem("/status", f"must be one of {', '.join(STATUS)}")
    for pointer, own in [("", document), *((f"/{kind}", document.get(kind) or {}) for kind in KINDS)]:
        licence, doi, chosen = own.get("licence"), own.get("doi"), own.get("id")
        if licence and licence not in licences():
            near = get_close_matches(licence, licences(), 4, 0.3)
            hint = f"; near are {', '.join(near)}" if near else "; give its SPDX identifier, or proprietary, or various"
            yield InputProblem(f"{pointer}/licence", f"the catalog does not know {licence!r}{hint}")
        if doi and doi not in ("requested", "declined") and not DOI.match(doi):
            yield InputProblem(f"{pointer}/doi", "must be a DOI as 10.5281/zenodo.123, or requested, or declined")
        if chosen and not ID.match(chosen):
            yield InputProblem(f"{pointer}/id", "must be of a-z, 0-9, dot, dash and underline, at most 100")


def people(contacts: Iterable[Mapping[str, Any]]) -> Iterator[InputProblem]:
    """What is wrong with contacts."""
    known = ("name", "organization", "email", "orcid", "roles")
    for number, one in enumerate(contacts):
        at = f"/contacts/{number}"
        for name in one:
            if name not in known:
                yield InputProblem(f"{at}/{name}", f"is not known; known are {', '.join(known)}")
        if not _is_text(one.get("name")):
            yield InputProblem(f"{at}/name", "is missing")
        if "orcid" in one and orcid(str(one["orcid"])) is None:
            yield InputProblem(f"{at}/orcid", f"{one['orcid']!r} is not an ORCID iD: its check digit or form is wrong")
        if "email" in one and not (_is_text(one["email"]) and _EMAIL.match(one["email"])):
            yield InputProblem(f"{at}/email", "is not an e-mail address")
        if not _is_texts(one.get("roles", [])):
            yield InputProblem(f"{at}/roles", "must be a list of texts")


def _product(document: Mapping[str, Any], records: tuple[str, ...], catalog: Catalog) -> Iterator[InputProblem]:
    for number, one in enumerate(document.get("access") or ()):
        if not _is_address(one.get("href")):
            yield InputProblem(f"/access/{number}/href", "must be an address that begins with https:// or http://")
    for name in ("collection", "browser"):
        if name in document and not _is_address(document[name]):
            yield InputProblem(f"/{name}", "must be an address that begins with https:// or http://")
    for number, one in enumerate(document.get("parameters") or ()):
        if not _is_text(one.get("name")) or not set(one) <= {"name", "unit"}:
            yield InputProblem(f"/parameters/{number}", "must have a name, and may have a unit")
    chosen = (document.get("product") or {}).get("id")
    there = bool(chosen) and f"products/{chosen}/{FILES['products']}.json" in catalog.paths
    if "product" not in records or there:
        return
    if not (document.get("access") or document.get("collection") or document.get("browser")):
        yield InputProblem("/access", "is missing: a product says where its data is (access, collection or browser)")
    if "extent" not in document:
        yield InputProblem("/extent", "is missing: {bbox: [west, south, east, north], interval: [start, end]}")
    elif problem := _extent(document["extent"]):
        yield InputProblem("/extent", problem)


def _is_address(value: Any) -> bool:
    try:
        parts = urlsplit(value) if _is_text(value) else None
    except ValueError:  # such as http://[x
        return False
    return parts is not None and parts.scheme in ("http", "https") and "@" not in parts.netloc


def _extent(extent: Mapping[str, Any]) -> str | None:
    """What is wrong with it."""
    try:
        west, south, east, north = map(float, extent["bbox"])
        start, end = extent["interval"]
        times = [moment_of(one) for one in (start, end) if one is not None]
    except (KeyError, TypeError, ValueError, AttributeError):
        return "must have bbox [west, south, east, north] and interval [start, end], times as 2025-01-31T00:00:00Z"
    if not all(map(math.isfinite, (west, south, east, north))):
        return "the box is not of numbers"
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        return "the box is not one of longitudes and latitudes"
    if not times or times != sorted(times):
        return "the time has no beginning, or ends before it begins"
    return None
