"""Makes of a job's outputs the STAC items that are published: complete, and nothing invented.

Where the package wrote STAC items, each becomes one; else the run is one item. What an item needs and nobody said
(dates, a footprint) is a finding that names the member of the request that says it. Source: the profile in reg-api's
description (`tests/data/osc/prr`), https://github.com/stac-extensions/{file,processing,projection}.
"""

from __future__ import annotations

import copy
import json
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

from broker.results.assets import LONGEST, directory, guessed, modernise, roles_of, safe_name, texts, with_directories
from broker.results.footprint import box_problem, points, rectangle
from broker.results.moments import Interval, interval_of
from broker.results.target import File, Finding, Json

FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
MOST_DOCUMENT = 8 * 2**20  # bytes of a STAC item
MOST_LEVELS = 60  # of its nesting


@dataclass(frozen=True, slots=True)
class Run:
    """What the record of provenance says of a run. `software`: name -> version; `facility`: the platform;
    `finished`: RFC 3339; `home`: the address of the job."""

    process: str
    job: str
    finished: str
    software: Mapping[str, str] = field(default_factory=dict)
    facility: str | None = None
    home: str | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any], home: str | None = None) -> Run:
        """From a record (see `broker.jobs.record`)."""
        process, engine = record["process"], record.get("engine") or {}
        software = {process["id"]: process.get("version") or str(process.get("revision") or "unknown")}
        software |= {"earthcode-broker": record["broker"]["version"]}
        if engine.get("name"):
            software[engine["name"]] = str(engine.get("version") or "unknown")
        facility = (record.get("platform") or {}).get("name")
        return cls(process["id"], record["job"]["id"], record["job"]["finished"], software, facility, home)


@dataclass(frozen=True, slots=True)
class Made:
    """Planned items ({"item", "files"}, see `target`) and what is to be said of them."""

    items: list[Json]
    findings: list[Finding]

    @property
    def sendable(self) -> bool:
        return bool(self.items) and not any(finding.level == "error" for finding in self.findings)


def items(
    run: Run,
    outputs: Sequence[File],
    documents: Mapping[str, bytes],
    request: Mapping[str, Any],
    documentation: Mapping[str, File] | None = None,
) -> Made:
    """The items to publish. `outputs`: the kept files, directories by their files; `documents`: the bytes of those
    that may be STAC (`candidates`); `documentation`: asset key -> file (package, inputs, environment, logs, crate).
    Of the request: `interval` [start, end], `geometry` or `bbox`, `title`, `description`, `licence`."""
    return _Making(run, outputs, documents, request, documentation or {}).made()


def candidates(outputs: Sequence[File]) -> list[File]:
    """The outputs that may be STAC items, of a size that is read."""
    named = (file for file in outputs if file.path.endswith((".json", ".geojson")))
    return [file for file in named if (file.size or 0) <= MOST_DOCUMENT]


class _Making:
    def __init__(
        self,
        run: Run,
        outputs: Sequence[File],
        documents: Mapping[str, bytes],
        request: Mapping[str, Any],
        documentation: Mapping[str, File],
    ) -> None:
        self.run, self.request, self.documentation = run, request, documentation
        self.outputs = {file.path: file for file in outputs}
        self.found = dict(_stac_items(documents))
        self.written = [path for path in sorted(documents) if _is_stac(documents[path])]
        self.findings: list[Finding] = []
        self.asked, problem = interval_of(request.get("interval"))
        if problem:
            self.error("interval", problem)

    def error(self, where: str, message: str, allowed: tuple[str, ...] = ()) -> None:
        self.findings.append(Finding("error", where, message, allowed))

    def warn(self, where: str, message: str) -> None:
        self.findings.append(Finding("warning", where, message))

    def made(self) -> Made:
        if not self.outputs:
            self.error("outputs", "The job has no output files.")
            return Made([], self.findings)
        made = [self.of_item(path, item) for path, item in self.found.items()] if self.found else [self.of_run()]
        if self.documentation and len(made) == 1:
            self.document(made[0])
        elif self.documentation:
            made.append(self.of_documentation(made))
        if self.found and made[-1]["files"]:  # not where all its data lies elsewhere
            self.describe(made[-1])
        names: set[str] = set()
        for planned in made:
            name = planned["item"]["id"]
            if name in names:
                self.error(name, "Two items have this id: the package has to tell them apart.")
            names.add(name)
        return Made(made, self.findings)

    # ---- items

    def of_item(self, path: str, item: Json) -> Json:
        """One that the package wrote."""
        stem = str(item["id"]) if len(self.found) > 1 else self.run.process
        made = self.started(stem, copy.deepcopy(item), path)
        if len(self.found) == 1 and item["id"] != stem:
            made["item"]["properties"].setdefault("title", str(item["id"]))
        self.footprint(made["item"], item, path)
        assets = item.get("assets")
        for key, asset in assets.items() if isinstance(assets, dict) else ():
            if not isinstance(asset, dict) or not isinstance(asset.get("href"), str):
                self.error(path, f"The asset {key} has no href.")
            elif (where := self.place(path, asset["href"], key)) is not None:
                self.add(made, key, where, asset)
        self.used(made, path)
        return made

    def of_run(self) -> Json:
        """All outputs of a run that wrote no STAC."""
        made = self.started(self.run.process, {"properties": {}}, "interval")
        self.footprint(made["item"], {}, "geometry")
        for file in with_directories(self.outputs.values()):
            self.add(made, _key(file.path, made), file, {})
        self.used(made, "outputs")
        return made

    def of_documentation(self, others: Sequence[Json]) -> Json:
        """How all items of a run came about, once."""
        spans = [item["item"]["properties"] for item in others]
        starts = [one["start_datetime"] for one in spans if "start_datetime" in one]
        ends = [one["end_datetime"] for one in spans if "end_datetime" in one]
        interval = {"start_datetime": min(starts), "end_datetime": max(ends)} if starts and ends else {}
        made = self.started(f"{self.run.process}-documentation", {"properties": interval}, "interval")
        made["item"] |= {"geometry": None}
        made["item"]["properties"]["title"] = f"How {self.run.process} was run"
        self.document(made)
        return made

    def started(self, stem: str, item: Json, where: str) -> Json:
        """An item with its id, dates and how it was processed, its assets still to come."""
        given = item.get("properties")
        properties: Json = given if isinstance(given, dict) else {}
        own = interval_of(
            [properties.get("start_datetime"), properties.get("end_datetime")], properties.get("datetime")
        )
        made: Json = {
            "type": "Feature",
            "stac_version": str(item.get("stac_version") or "1.0.0"),
            "stac_extensions": sorted({*texts(item.get("stac_extensions")), FILE, PROCESSING}),
            "id": self.identifier(stem),
            "geometry": None,
            "properties": {**properties, **self.dates(own, where), **self.processed(properties)},
            "links": [{"rel": "via", "href": self.run.home, "type": "text/html"}] if self.run.home else [],
            "assets": {},
        }
        for name in ("title", "description"):
            if len(self.found) <= 1 and isinstance(text := self.request.get(name), str) and text:
                made["properties"].setdefault(name, text)
        if isinstance(licence := self.request.get("licence"), str) and licence:
            made["properties"]["license"] = licence
        modernise(made, made["properties"])
        return {"item": made, "files": {}}

    def identifier(self, stem: str) -> str:
        """`<stem>-<job>`: another run gives another item."""
        return f"{safe_name(stem, LONGEST - len(self.run.job) - 1)}-{safe_name(self.run.job)}"

    def dates(self, own: tuple[Interval | None, str | None], where: str) -> Json:
        interval, problem = own
        if problem:
            self.error(where, problem)
            return {}
        interval = interval or self.asked
        if interval is None and any(finding.field == "interval" for finding in self.findings):
            return {}  # said once, of the request or of an item before
        if interval is None:
            self.error(
                "interval",
                f"{where}: nobody says from when to when the data is. The time of the run is not that of the data.",
                ("[start, end] as RFC 3339 in UTC, such as 2026-01-31T00:00:00Z",),
            )
            return {}
        return {"datetime": interval.moment, "start_datetime": interval.start, "end_datetime": interval.end}

    def processed(self, own: Mapping[str, Any]) -> Json:
        known: Json = {"processing:datetime": self.run.finished, "processing:software": dict(self.run.software)}
        if self.run.facility:
            known["processing:facility"] = self.run.facility
        return known | {name: value for name, value in own.items() if name in known}

    def footprint(self, made: Json, item: Mapping[str, Any], where: str) -> None:
        """Geometry and bbox: the item's, else the request's, else none."""
        source = item if item.get("geometry") else self.request
        geometry, box = source.get("geometry"), source.get("bbox")
        numbers = list(points(geometry.get("coordinates"))) if isinstance(geometry, Mapping) else []
        if box is None and numbers:
            xs, ys = [point[0] for point in numbers], [point[1] for point in numbers]
            box = [min(xs), min(ys), max(xs), max(ys)]
        if box is None:
            self.warn("geometry", f"{where}: nobody says where the data lies; the item cannot be found on a map.")
            return
        if (problem := box_problem(box)) is not None:
            self.error("bbox" if source is self.request else where, problem)
            return
        made["bbox"] = box
        made["geometry"] = copy.deepcopy(geometry) if numbers else rectangle(box)

    # ---- assets

    def place(self, path: str, href: str, key: str) -> File | str | None:
        """The file that an asset of the document at `path` is, or its address elsewhere."""
        if "://" in href:
            if href.startswith("file:"):
                self.error(path, f"The asset {key} is a file of the machine where the job ran.")
                return None
            self.warn(path, f"The asset {key} lies elsewhere ({href}): it is linked to, and not kept.")
            return href
        name = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(href)))
        if name in self.outputs:
            return self.outputs[name]
        below = [file for one, file in self.outputs.items() if one.startswith(f"{name}/")]
        if below and name != ".":
            return directory(name, below)
        self.error(path, f"The asset {key} is not among the job's files ({href}).")
        return None

    def add(self, made: Json, key: str, where: File | str, own: Mapping[str, Any]) -> None:
        name = where if isinstance(where, str) else where.path
        media = own.get("type") or (None if isinstance(where, str) else where.media_type) or guessed(name)
        asset = {**own, "type": media, "roles": roles_of(own, media)}
        if isinstance(where, str):
            asset["href"] = where
            if not isinstance(asset.get("file:size"), int):
                self.error(f"assets/{key}", "Of a file that lies elsewhere the size has to be known (file:size).")
        else:
            asset["href"] = self.named(made, where)
            if where.members:
                asset |= {"type": "application/zip", "title": own.get("title") or posixpath.basename(where.path)}
                self.warn(where.path, "The directory is published as one zip file.")
            made["files"][asset["href"]] = replace(where, media_type=asset["type"]).to_json()
            if where.checksum is not None:
                asset |= {"file:size": where.size, "file:checksum": where.checksum}
        modernise(made["item"], asset)
        made["item"]["assets"][key] = asset

    def named(self, made: Json, file: File) -> str:
        """A file name of its own in the item; its directory does not count there."""
        name = posixpath.basename(file.path) + (".zip" if file.members else "")
        plain = safe_name(name)
        return plain if plain not in made["files"] else safe_name(file.path.replace("/", "-") + "!", LONGEST)

    def document(self, made: Json) -> None:
        """Add what says how the run was made."""
        for key, file in self.documentation.items():
            media = file.media_type or guessed(file.path)
            free = key if key not in made["item"]["assets"] else f"documentation-{key}"
            self.add(made, free, file, {"type": media, "roles": ["documentation"], "title": key})

    def describe(self, made: Json) -> None:
        """Add the STAC documents as the package wrote them: who runs it again compares with these."""
        for path in self.written:
            file = self.outputs[path]
            self.add(made, _key(path, made), file, {"type": file.media_type or guessed(path), "roles": ["metadata"]})

    def used(self, made: Json, where: str) -> None:
        roles = {role for asset in made["item"]["assets"].values() for role in asset["roles"]}
        if not roles & {"data", "documentation"}:
            self.error(where, "No asset has the role data or documentation.", ("data", "documentation"))


def _is_stac(document: bytes) -> bool:
    """An item, a collection or a catalog."""
    try:
        found = json.loads(document, parse_constant=_no_number) if len(document) <= MOST_DOCUMENT else None
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "stac_version" in found


def _stac_items(documents: Mapping[str, bytes]) -> Iterator[tuple[str, Json]]:
    for path in sorted(documents):
        if len(documents[path]) > MOST_DOCUMENT:
            continue
        try:
            found = json.loads(documents[path], parse_constant=_no_number)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and found.get("type") == "Feature" and "stac_version" in found and _flat(found):
            yield path, found | {"id": str(found.get("id") or posixpath.splitext(posixpath.basename(path))[0])}


def _no_number(text: str) -> Any:
    raise ValueError(text)  # NaN and the like are no JSON, and no other server takes them


def _flat(value: Any) -> bool:
    """Not so deep that walking through it is a danger."""
    level = [value]
    for _ in range(MOST_LEVELS):
        level = [below for one in level if isinstance(one, dict | list) for below in _below(one)]
        if not level:
            return True
    return False


def _below(one: Any) -> Any:
    return one.values() if isinstance(one, dict) else one


def _key(path: str, made: Json) -> str:
    stem = posixpath.splitext(posixpath.basename(path))[0] or "file"
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-") or "file"
    return plain if plain not in made["item"]["assets"] else re.sub(r"[^A-Za-z0-9_-]+", "-", path)
