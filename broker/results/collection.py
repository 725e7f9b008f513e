"""The bundle from which people make a collection in the results repository: `collection.json` with all that is needed.

Collections cannot be made by its interface: the bundle goes to earth-code@esa.int, with the technical officer in copy.
What is mandatory is what reg-api's statistics ask for (their codes 32 to 46).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from broker.results.moments import interval_of
from broker.results.prr import CONTACT
from broker.results.target import Finding, Json

THEMES = "https://github.com/stac-extensions/osc#theme"
THUMBNAIL = 5 * 10**6  # bytes, at most
INITIATIVES = ("earthcode", "apex")
EXTENSIONS = [
    "https://stac-extensions.github.io/cf/v0.2.0/schema.json",
    "https://stac-extensions.github.io/osc/v1.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
    "https://stac-extensions.github.io/themes/v1.0.0/schema.json",
]
_EPOCH = (1980, 1, 1, 0, 0, 0)
_TOLD = 12  # allowed values that are named beside a wrong one

TEXTS = {  # member of the request -> member of the collection
    "title": "title",
    "description": "description",
    "licence": "license",
    "project": "osc:project",
    "project_description": "osc:project_description",
    "project_website": "osc:project_website",
    "initiative": "osc:initiative",
    "contract_number": "osc:contract-number",
}
LISTS = {"variables": "osc:variables", "missions": "osc:missions", "themes": "themes"}
OTHERS = ("parameters", "thumbnail", "extent", "keywords", "providers", "region", "doi")
MEMBERS = (*TEXTS, *LISTS, *OTHERS)
_VOCABULARY = {"licence": "licences", "project": "projects", "initiative": "initiatives"}


def document(
    name: str,
    request: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]],
    processed: str,
    vocabularies: Mapping[str, Collection[str]] | None = None,
) -> tuple[Json, list[Finding]]:
    """A collection for STAC items, and what is missing or unknown in the request (members: `MEMBERS`).

    `parameters`: [{name, unit}] or names (`cf:parameter`); `thumbnail`: {href, type, size}; `extent`: {bbox, interval},
    by default that of the items. `processed`: RFC 3339; `vocabularies`: what is known of `licences`, `projects`,
    `themes`, `variables`, `missions`.
    """
    made = _Collecting(request, {"initiatives": INITIATIVES, **(vocabularies or {})})
    full: Json = {
        "type": "Collection",
        "stac_version": "1.0.0",
        "stac_extensions": list(EXTENSIONS),
        "id": name,
        **{member: made.text(key) for key, member in TEXTS.items()},
        **{member: made.names(key) for key, member in LISTS.items()},
        "osc:type": "product",
        "osc:status": "completed",
        "cf:parameter": made.parameters(),
        "processing:datetime": processed,
        "extent": made.extent(items),
        "assets": {"thumbnail": made.thumbnail()},
        "links": [
            {"rel": "item", "href": f"./items/{item['id']}.json", "type": "application/geo+json"} for item in items
        ],
    }
    full["themes"] = [{"scheme": THEMES, "concepts": [{"id": theme} for theme in full["themes"]]}]
    optional = {"keywords": "keywords", "providers": "providers", "region": "osc:region", "doi": "sci:doi"}
    full |= {member: request[key] for key, member in optional.items() if request.get(key)}
    made.unknown(request)
    return full, made.findings


def bundle(collection: Mapping[str, Any], items: Iterable[Mapping[str, Any]], size: int, officer: str) -> bytes:
    """A zip of the collection, its items and the letter that goes with it. `size`: bytes of all data."""
    files = {"collection.json": _json(collection), "LETTER.txt": _letter(collection, size, officer).encode()}
    files |= {f"items/{item['id']}.json": _json(item) for item in items}
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return held.getvalue()


class _Collecting:
    """Takes a request apart and notes what is wrong with it."""

    def __init__(self, request: Mapping[str, Any], vocabularies: Mapping[str, Collection[str]]) -> None:
        self.request, self.vocabularies = request, vocabularies
        self.findings: list[Finding] = []

    def wrong(self, member: str, message: str, allowed: Iterable[str] = ()) -> None:
        self.findings.append(Finding("error", member, message, tuple(allowed)))

    def text(self, member: str) -> str:
        value = self.request.get(member)
        if not isinstance(value, str) or not value.strip():
            self.wrong(member, f"{member} is missing.", self.near("", _VOCABULARY.get(member, "")))
            return ""
        self.known(member, value, _VOCABULARY.get(member, ""))
        if member == "project_website" and not value.startswith(("https://", "http://")):
            self.wrong(member, "The website is an address.", ("https://…",))
        return value

    def names(self, member: str) -> list[str]:
        value = self.request.get(member)
        if not isinstance(value, list) or not value or not all(isinstance(one, str) for one in value):
            self.wrong(member, f"{member} is missing: a list of identifiers.", self.near("", member))
            return []
        for one in value:
            self.known(member, one, member)
        return list(value)

    def known(self, member: str, value: str, vocabulary: str) -> None:
        allowed = self.vocabularies.get(vocabulary)
        if allowed is not None and value not in allowed:
            self.wrong(member, f"{value!r} is not known.", self.near(value, vocabulary))

    def near(self, value: str, vocabulary: str) -> tuple[str, ...]:
        """The allowed values, the likely ones of many."""
        allowed = sorted(self.vocabularies.get(vocabulary) or ())
        return tuple(
            allowed if len(allowed) <= _TOLD else get_close_matches(value, allowed, _TOLD, 0.3) or allowed[:_TOLD]
        )

    def parameters(self) -> list[Json]:
        value = self.request.get("parameters")
        given = [{"name": one} if isinstance(one, str) else one for one in value] if isinstance(value, list) else []
        if not given or not all(isinstance(one, Mapping) and isinstance(one.get("name"), str) for one in given):
            self.wrong("parameters", "parameters is missing: names of the CF convention.", ("[{name, unit}]",))
            return []
        return [{key: one[key] for key in ("name", "unit") if one.get(key)} for one in given]

    def thumbnail(self) -> Json:
        value = self.request.get("thumbnail")
        if not isinstance(value, Mapping) or not isinstance(value.get("href"), str):
            self.wrong("thumbnail", "A picture is missing.", ("{href, type, size}: a PNG or JPEG of at most 5 MB",))
            return {}
        if isinstance(size := value.get("size"), int) and size > THUMBNAIL:
            self.wrong("thumbnail", f"The picture has {size} bytes; at most {THUMBNAIL} are taken.")
        if (media := value.get("type") or "image/png") not in ("image/png", "image/jpeg"):
            self.wrong("thumbnail", f"{media} is no picture that is shown.", ("image/png", "image/jpeg"))
        return {"href": value["href"], "type": media, "roles": ["thumbnail"], "title": "Thumbnail"}

    def extent(self, items: Sequence[Mapping[str, Any]]) -> Json:
        given = self.request.get("extent")
        asked: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
        interval, problem = interval_of(asked.get("interval"))
        if problem:
            self.wrong("extent", problem)
        box = asked.get("bbox") or around([item["bbox"] for item in items if item.get("bbox")])
        if box is None:
            self.wrong("extent", "Nobody says where the data lies.", ("{bbox: [west, south, east, north], interval}",))
        spans = [item["properties"] for item in items if item["properties"].get("start_datetime")]
        if interval is not None:
            ends = [interval.start, interval.end]
        elif spans:
            ends = [min(one["start_datetime"] for one in spans), max(one["end_datetime"] for one in spans)]
        else:
            ends = []
            self.wrong("extent", "Nobody says from when to when the data is.", ("{bbox, interval: [start, end]}",))
        return {"spatial": {"bbox": [box] if box else []}, "temporal": {"interval": [ends] if ends else []}}

    def unknown(self, request: Mapping[str, Any]) -> None:
        for member in request:
            if member not in MEMBERS:
                self.wrong(member, f"There is no member {member}.", get_close_matches(member, MEMBERS, 3) or MEMBERS)


def around(boxes: Sequence[Sequence[float]]) -> list[float] | None:
    """The box around boxes of two or three dimensions; None for none."""
    flat = [(box[0], box[1], box[len(box) // 2], box[len(box) // 2 + 1]) for box in boxes]
    if not flat:
        return None
    west, south, east, north = zip(*flat, strict=True)
    return [min(west), min(south), max(east), max(north)]


def _letter(collection: Mapping[str, Any], size: int, officer: str) -> str:
    return (
        f"To: {CONTACT}\nCc: {officer}\nSubject: A collection in the results repository: {collection['title']}\n\n"
        f"Project: {collection['osc:project']} ({collection['osc:project_website']})\n"
        f"Contract: {collection['osc:contract-number']}\n"
        f"Collection: {collection['id']}, {collection['title']}\n"
        f"Size of the data: {size / 1e9:.3f} GB in {len(collection['links'])} items\n"
        f"Licence: {collection['license']}\n"
        "Restrictions: none but the licence\n\n"
        "Attached are collection.json and the items. Please make the collection, and let our user register in it.\n"
    )


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
