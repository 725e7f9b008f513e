"""What goes to a repository and to a catalog, made in the same way for a draft and for what is sent."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.errors import InputError, InputProblem
from broker.execution.publishdesk import Desk, Reading
from broker.execution.publishdocuments import Document, documentation, documents, package_document
from broker.execution.publishsubject import Run, Subject
from broker.jobs.record import moment
from broker.results import catalogplan, catalogrequest, stac
from broker.results.catalog import Make
from broker.results.cloudready import warnings
from broker.results.collection import around
from broker.results.published import Published
from broker.results.target import Finding, Json
from broker.store.publications import Publication

_NAME = re.compile(r"[^./\\][^/\\]{0,249}\Z")  # of an item: it becomes the name of a file
SHOWN = ("path", "size", "sha256", "mediaType")  # of a file: not where it lies in our storage
MOST_DOCUMENTS = 64 * 2**20  # bytes of STAC documents that are read to make the items of one run


@dataclass(frozen=True, slots=True)
class Items:
    """Planned items (each with the `job` that it is of), what is to be said of them, and the documents that go with
    them, by run."""

    items: list[Json]
    findings: list[Finding]
    documents: list[tuple[Run, list[Document]]] = field(default_factory=list)

    def digest(self, collection: Any) -> str:
        """Of the items and files that go to a collection."""
        told = [
            [one["item"], {href: [file.get(name) for name in SHOWN] for href, file in one["files"].items()}]
            for one in self.items
        ]
        return hashlib.sha256(json.dumps([collection, told], sort_keys=True).encode()).hexdigest()


def items_of(desk: Desk, subject: Subject, request: Mapping[str, Any], prefix: str) -> Items:
    """The items of a subject; `prefix`: below which their documents will be in storage. Raises StorageError,
    PlatformUnavailable where nobody can look at rasters."""
    if not subject.runs:
        return _elsewhere(subject, request)
    made = Items([], [])
    asked = _of_items(request)
    for run in subject.runs:
        found = list(documents(run, desk.home))
        about = stac.Run.of(run.record, f"{desk.home}/jobs/{run.job.id}" if desk.home else None)
        texts = dict(_texts(desk, run))
        one = stac.items(about, run.files, texts, asked, documentation(run, found, prefix))
        for planned in one.items:
            made.findings.extend(warnings(planned, Reading(desk.storage), desk.look))
            made.items.append({**planned, "job": run.job.id})
        made.findings.extend(one.findings)
        made.documents.append((run, found))
    return made


def _of_items(request: Mapping[str, Any]) -> Json:
    """The request of items: where it says nothing of place and time, what it says of the product."""
    given = request.get("extent")
    extent: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    found = {name: extent[name] for name in ("bbox", "interval") if extent.get(name)}
    return found | {name: value for name, value in request.items() if name != "extent"}


def _texts(desk: Desk, run: Run) -> Iterator[tuple[str, bytes]]:
    room = MOST_DOCUMENTS
    for file in stac.candidates(run.files):
        room -= file.size or 0
        if room < 0:
            why = f"the STAC documents of {run.job.id} have more than {MOST_DOCUMENTS // 2**20} MiB together"
            raise InputError(InputProblem("/jobs", why))
        yield file.path, b"".join(desk.storage.open(file.source))


def _elsewhere(subject: Subject, request: Mapping[str, Any]) -> Items:
    """Items whose data lies elsewhere, as they were given."""
    given = request.get("items")
    if not isinstance(given, list) or not given:
        why = "a process alone has none" if subject.process else "give STAC items, or jobs"
        return Items([], [Finding("error", "items", f"A repository takes items: {why}.")])
    made = Items([], [])
    for number, item in enumerate(given):
        if (problem := _not_an_item(item)) is not None:
            made.findings.append(Finding("error", f"items/{number}", problem))
        else:
            made.items.append({"item": item, "files": {}})
    return made


def _not_an_item(item: Any) -> str | None:
    if not isinstance(item, Mapping) or item.get("type") != "Feature" or not isinstance(item.get("id"), str):
        return "It is no STAC item: a Feature with an id."
    if not _NAME.match(item["id"]) or not item["id"].isprintable():
        return "The id of an item has 1 to 250 characters, none of them a slash, and does not begin with a dot."
    if not isinstance(item.get("properties"), Mapping) or not isinstance(item.get("assets"), Mapping):
        return "A STAC item has properties and assets."
    box, times = item.get("bbox"), [item["properties"].get(name) for name in ("start_datetime", "end_datetime")]
    if box is not None and not (isinstance(box, list) and len(box) in (4, 6) and all(map(_number, box))):
        return "A bbox has 4 or 6 numbers."
    if times != [None, None] and not all(isinstance(one, str) for one in times):
        return "An item with start_datetime has end_datetime, too; both are texts."
    for key, asset in item["assets"].items():
        href = asset.get("href") if isinstance(asset, Mapping) else None
        if not isinstance(href, str) or not href.lower().startswith(
            ("https://", "http://", "s3://", "gs://", "ftp://")
        ):
            return f"The asset {key} has no address that others can read."
    return None


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def extent_of(items: Sequence[Mapping[str, Any]]) -> Json | None:
    """{bbox, interval} around STAC items; None where one of the two is not known."""
    box = around([item["bbox"] for item in items if item.get("bbox")])
    spans = [item["properties"] for item in items if item["properties"].get("start_datetime")]
    if box is None or not spans:
        return None
    return {
        "bbox": box,
        "interval": [min(one["start_datetime"] for one in spans), max(one["end_datetime"] for one in spans)],
    }


# ---- in a catalog


@dataclass(frozen=True, slots=True)
class Kept:
    """Where a repository has the files of runs: `collection` of the items; `package`; `places`: job -> path -> address;
    `crates`: job -> address."""

    collection: str | None = None
    package: str | None = None
    places: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    crates: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Mapping[str, Any], receipt: Mapping[str, Any]) -> Kept:
        """From what a repository did."""
        found: list[tuple[Mapping[str, Any], str, str]] = []
        collection = None
        for planned in plan["items"]:
            own = receipt["items"][planned["item"]["id"]]
            collection = str(own["href"]).rpartition("/items/")[0]
            found += [(planned, key, str(asset["href"])) for key, asset in own["assets"].items()]
        return cls._of(collection, found)

    @classmethod
    def expected(cls, collection: str, items: Sequence[Mapping[str, Any]]) -> Kept:
        """What a draft takes for it: the repository decides in the end."""
        found = [
            (planned, key, f"{collection}/items/{planned['item']['id']}/{asset['href'].rpartition('/')[2]}")
            for planned in items
            for key, asset in planned["item"]["assets"].items()
        ]
        return cls._of(collection, found)

    @classmethod
    def _of(cls, collection: str | None, found: Sequence[tuple[Mapping[str, Any], str, str]]) -> Kept:
        places: dict[str, dict[str, str]] = {}
        documents: dict[tuple[str, str], str] = {}
        for planned, key, address in found:
            asset, job = planned["item"]["assets"][key], planned.get("job")
            file = planned["files"].get(asset["href"])
            if job is None or file is None or file.get("members"):
                continue  # what lies elsewhere has its address already; of a zip nobody reads one file
            if "documentation" not in asset["roles"] or file["path"].startswith("inputs/"):
                places.setdefault(job, {}).setdefault(file["path"], address)
            else:
                documents[job, asset.get("title") or key] = address
        packages = [address for (_, title), address in documents.items() if title == "package"]
        crates = {job: address for (job, title), address in documents.items() if title == "crate"}
        return cls(collection, packages[0] if packages else None, places, crates)


def kept_by(repository: Publication | None) -> Kept:
    """What a publication in a repository has come to; nothing without one."""
    if repository is None or not repository.plan or not repository.receipt:
        return Kept()
    return Kept.of(repository.plan, repository.receipt)


def maker(
    publication: str, asked: float, subject: Subject, request: Mapping[str, Any], kept: Kept, home: str | None
) -> Make:
    """What makes the plan of a catalog's publication that was asked for at `asked` (epoch seconds)."""
    document = package_document(subject.package) if subject.package is not None else None
    alone = document is not None and document.name.endswith(".cwl")
    published = Published(
        id=publication,
        moment=str(moment(asked)),
        runs=[run.record for run in subject.runs],
        process=subject.process,
        package=document.content if document is not None and alone else None,
        package_href=kept.package,
        entry=None if subject.package is None else subject.package["entry"],
        places=kept.places,
        crates=kept.crates,
        broker=home,
    )
    values = {name: value for name, value in request.items() if name in catalogrequest.MEMBERS}
    if kept.collection is not None:
        values["collection"] = kept.collection
    return lambda tree: catalogplan.plan(tree, values, published)
