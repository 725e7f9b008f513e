"""The provenance record of a job: one plain document, made by reference of what the broker's rows say when it ends.

Members (times RFC 3339 in UTC, sizes bytes, memory MiB, sha256 hex; what is not known is left out):

    type          "earthcode-broker provenance record v1"
    job           id, title, phase, created, started, finished, attempts, parent, tags
    process       id, title, version, revision, kind, digest (of the closed package), submitted_digest, mediaType,
                  source (see `broker.packages.source`)
    package       kind, digest: names the bundle that the broker keeps
    platform      name, adapter, adapterVersion, node, isolation, containerEngine, why, reasons (why not others),
                  account (where it ran in a person's own account there: whose)
    engine        name, version
    broker        version
    agent         person, subject, issuer, name, orcid, delegate (the platform that asked in the person's name), project
    inputs        id -> [{path, location, sha256, size, mediaType, stacId, files}] or {value}
    outputs       id -> [{path, sha256, size, mediaType, stacId, source}] or {value}; `source`: the step's file that
                  it was
    jobOrder      the CWL job order, its Files with sha256 and size
    steps         name, tool, status, command, image, imageDigest, exitCode, start, end, node,
                  requested {cores, ram, tmp, out}, measured {cpu (seconds), rss}, inputs, outputs (paths), cacheHit
                  (it did not run: its results are those that it had in the job `reused`)
    reproduces    what it does again: name, title, href (of an experiment), job, workflow, digest (of its package),
                  platform
    reused        job: the one whose results this job has instead of having run; record: the sha256 of that one's record
    delegated     of work that another server did: kind, server, version, job (or jobId), request or process graph,
                  costs, its own provenance
    children      of steps that other platforms ran: step, job, phase, record (the sha256 of that job's record),
                  package, platform, engine, delegated
    failure       fault, reason, message, step, exitCode
    events        {event, at}

A path is `inputs/…` (an input), `work/…` (a file between steps), `package/…`, or that of an output among the job's
kept files. No secret, no signed link and no bearer gets in: see `broker.jobs.secrets.unsigned`.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from broker.jobs.model import Failure, Job, Phase, StageItem, Step
from broker.jobs.secrets import unsigned, unsigned_link

TYPE = "earthcode-broker provenance record v1"
MOST_FILES = 5000  # of one input or output that are listed
MOST_EVENTS = 200
MOST_COMMAND = 2000  # characters of a step's command line
MOST_VALUE = 64 * 1024  # of a value as JSON; of a larger one only the digest is kept


@dataclass(frozen=True, slots=True)
class Context:
    """What rows other than the job's say: members of the record (`process`, `platform`, `agent`), the steps, the kept
    files by path ({sha256, size, mediaType}), the events, and the facts that the platform told."""

    process: Mapping[str, Any]
    platform: Mapping[str, Any]
    agent: Mapping[str, Any]
    steps: Sequence[Step] = ()
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    events: Sequence[tuple[str, float]] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    parent: str | None = None
    children: Sequence[Mapping[str, Any]] = ()
    version: str = ""


def build(job: Job, context: Context) -> dict[str, Any]:
    """The record of a job that has ended."""
    facts = context.facts
    staged = _Staged(job, facts.get("received") or ())
    files = _with_items(context.files, facts.get("stacIds") or {})
    engine = {key: facts[key] for key in ("isolation", "containerEngine", "node") if isinstance(facts.get(key), str)}
    full: dict[str, Any] = {
        "type": TYPE,
        "job": _job(job, context.parent),
        "process": context.process,
        "package": {key: context.process[key] for key in ("kind", "digest") if key in context.process},
        "platform": {**context.platform, **engine, **({"account": job.owner} if job.account is not None else {})},
        "engine": facts.get("engine"),
        "broker": {"version": context.version},
        "agent": context.agent,
        "inputs": {name: staged.input(value) for name, value in job.job_order.items()},
        "outputs": _outputs(job, files, facts.get("sources") or {}) if job.phase is Phase.SUCCESSFUL else {},
        "jobOrder": kept_small(staged.order(job.job_order)),
        "steps": [step_of(step) for step in context.steps],
        "reused": facts.get("reused") if job.reused is not None else None,
        "reproduces": job.request.get("reproduces"),
        "delegated": facts.get("delegated"),
        "children": list(context.children) or None,
        "failure": _failure(job.failure) if job.failure is not None else None,
        "events": [{"event": event, "at": moment(at)} for event, at in context.events[:MOST_EVENTS]],
    }
    return {key: value for key, value in full.items() if value is not None}


def for_others(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record for those with whom a job is shared: of the person it tells no account, and no platform that asked."""
    who = record["agent"]
    told = {name: value for name, value in who.items() if name in ("person", "name", "orcid", "project")}
    if who.get("name") == who.get("subject"):  # what an issuer says of nobody's name
        told.pop("name", None)
    return {**record, "agent": told}


def moment(seconds: float | None) -> str | None:
    """RFC 3339 in UTC, milliseconds."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def known(full: Mapping[str, Any]) -> dict[str, Any]:
    """What is there of it."""
    return {key: value for key, value in full.items() if value is not None and value != () and value != ""}


def _job(job: Job, parent: str | None) -> dict[str, Any]:
    return known(
        {
            "id": job.id,
            "title": unsigned(job.title),
            "phase": job.phase.value,
            "created": moment(job.created),
            "started": moment(job.started),
            "finished": moment(job.finished),
            "attempts": job.attempt,
            "parent": parent,
            "tags": list(job.tags),
        }
    )


def _failure(failure: Failure) -> dict[str, Any]:
    """Without the log's last lines: what a tool writes may be anything."""
    found = failure.to_json()
    del found["logTail"]
    return known(found | {"message": unsigned(failure.message)})


def step_of(step: Step) -> dict[str, Any]:
    """A step as the record has it."""
    asked = step.requested
    requested = {"cores": "cores", "ram": "ramMiB", "tmp": "tmpMiB", "out": "outMiB"}
    command, cut = _shortened([unsigned(word) for word in step.command])
    return known(
        {
            "name": step.name,
            "tool": step.tool,
            "status": step.status,
            "command": command or None,
            "commandCut": cut,
            "image": step.image,
            "imageDigest": step.image_digest,
            "exitCode": step.exit_code,
            "start": moment(step.started),
            "end": moment(step.finished),
            "node": step.node,
            "requested": {name: asked[key] for name, key in requested.items() if key in asked} or None,
            "measured": known({"cpu": step.cpu_seconds, "rss": step.max_rss_mib}) or None,
            "inputs": list(step.used) or None,
            "outputs": list(step.made) or None,
            "cacheHit": True if step.status == "replayed" else None,
            "reused": step.reused,
        }
    )


def _shortened(words: list[str]) -> tuple[list[str], int | None]:
    """The first words, and how many there were where that is not all."""
    room = MOST_COMMAND
    for number, word in enumerate(words):
        room -= len(word) + 3
        if room < 0:
            return [*words[:number], word[: max(0, room + len(word))]], len(words)
    return words, None


class _Staged:
    """What is known of a job's input files: as they were asked for, and as they came."""

    def __init__(self, job: Job, received: Sequence[Mapping[str, Any]]) -> None:
        self.items = {item.path: item for item in job.stage}
        self.received = {str(one["path"]): one for one in received}
        self.types = dict(_linked(job.request.get("inputs"))) if job.stage else {}

    def input(self, value: Any) -> Any:
        """One input: its files, or its value."""
        found = [self.entry(one) for one in _entries(value)]
        return found or {"value": kept_small(unsigned_value(value))}

    def entry(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        place = str(entry.get("location") or entry.get("path") or entry.get("basename") or "")
        path = place.removeprefix("inputs/")
        item = self.items.get(path)
        found: dict[str, Any] = {"path": place}
        if item is not None:
            found |= self.asked(item)
        if entry["class"] == "Directory":
            found |= self.inside(path)
        elif isinstance(entry.get("contents"), str):
            found |= _digested(entry["contents"].encode())
        return known(found | self.came(path))

    def asked(self, item: StageItem) -> dict[str, Any]:
        """What is known of a file from the request."""
        found = {} if item.url is None else {"location": unsigned_link(item.url), "mediaType": self.types.get(item.url)}
        return found | known({"sha256": item.sha256, "size": item.size}) | by_value(item)

    def inside(self, path: str) -> dict[str, Any]:
        """The files of a directory, whether each was asked for by itself or they came with a STAC document."""
        start = f"{path}/"
        below = {name: known(self.asked(item)) for name, item in self.items.items() if name.startswith(start)}
        for name, one in self.received.items():
            if name.startswith(start):
                below[name] = below.get(name, {}) | {key: value for key, value in one.items() if key != "path"}
        ids = list(dict.fromkeys(str(one["stacId"]) for one in below.values() if one.get("stacId")))
        return {
            "stacId": ids[0] if len(ids) == 1 else ids[:MOST_FILES] or None,
            "size": sum(int(one.get("size") or 0) for one in below.values()),
            "files": [{"path": f"inputs/{name}", **one} for name, one in islice(below.items(), MOST_FILES)],
        }

    def came(self, path: str) -> dict[str, Any]:
        one = self.received.get(path, {})
        return {key: one[key] for key in ("sha256", "size") if key in one}

    def order(self, value: Any) -> Any:
        """The job order with what is known of its files, and without what signs links."""
        if isinstance(value, Mapping):
            found = {key: self.order(one) for key, one in value.items()}
            if value.get("class") == "File":
                entry = self.entry(value)
                found |= {key: entry[key] for key in ("sha256", "size") if key in entry}
            return found
        if isinstance(value, list | tuple):
            return [self.order(one) for one in value]
        return unsigned(value) if isinstance(value, str) else value


def by_value(item: StageItem) -> dict[str, Any]:
    """sha256 (hex) and size of an input whose bytes came with the request; nothing for any other."""
    try:
        raw = item.text.encode() if item.text is not None else b64decode(item.data) if item.data is not None else None
    except (NotBase64, ValueError):
        return {}
    return {} if raw is None else _digested(raw)


def _digested(raw: bytes) -> dict[str, Any]:
    return {"sha256": hashlib.sha256(raw).hexdigest(), "size": len(raw)}


def _linked(value: Any) -> Iterator[tuple[str, str]]:
    """The media types that a request gives with its links."""
    if isinstance(value, Mapping):
        if isinstance(value.get("href"), str) and isinstance(value.get("type"), str):
            yield value["href"], value["type"]
        for one in value.values():
            yield from _linked(one)
    elif isinstance(value, list):
        for one in value:
            yield from _linked(one)


def _entries(value: Any) -> Iterator[Mapping[str, Any]]:
    """The Files and Directories in a value, those beside a File (secondaryFiles) after it; of a Directory that is only
    a list of others, those."""
    if isinstance(value, Mapping):
        if value.get("class") == "Directory" and "location" not in value and "listing" in value:
            yield from _entries(value["listing"])
            return
        if value.get("class") in ("File", "Directory"):
            yield value
            yield from _entries(value.get("secondaryFiles"))
            return
        for one in value.values():
            yield from _entries(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _entries(one)


def unsigned_value(value: Any) -> Any:
    """A JSON value without what signs or opens the links in its texts."""
    if isinstance(value, Mapping):
        return {key: unsigned_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [unsigned_value(one) for one in value]
    return unsigned(value) if isinstance(value, str) else value


def kept_small(value: Any) -> Any:
    """A value, or its digest where it is large."""
    if isinstance(value, bool | int | float | None) or (isinstance(value, str) and len(value) < MOST_VALUE // 4):
        return value
    text = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    return value if len(text) <= MOST_VALUE else {"sha256": hashlib.sha256(text).hexdigest(), "size": len(text)}


def _outputs(
    job: Job, files: Mapping[str, Mapping[str, Any]], sources: Mapping[str, str]
) -> dict[str, list[dict[str, Any]] | dict[str, Any]]:
    found: dict[str, list[dict[str, Any]] | dict[str, Any]] = {}
    for name, value in (job.outputs or {}).items():
        entries = [one for entry in _entries(value) for one in _kept(entry, files, sources)]
        is_file = next(_entries(value), None) is not None
        found[name] = entries[:MOST_FILES] if is_file else {"value": kept_small(unsigned_value(value))}
    return found


def _with_items(files: Mapping[str, Mapping[str, Any]], items: Mapping[str, str]) -> Mapping[str, Mapping[str, Any]]:
    """The files with the ids of the STAC items that they belong to."""
    if not items:
        return files
    return {path: {**one, "stacId": items[path]} if path in items else one for path, one in files.items()}


def _kept(
    entry: Mapping[str, Any], files: Mapping[str, Mapping[str, Any]], sources: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    """The kept files of a File or Directory of the output object."""
    path = str(entry.get("location") or "")
    source = sources.get(path)
    if entry["class"] == "File":
        yield known({"path": path, **files.get(path, {}), "source": source})
        return
    for below, one in files.items():
        if below.startswith(f"{path}/"):
            inside = below.removeprefix(path)
            yield known({"path": below, **one, "source": source and source + inside})
