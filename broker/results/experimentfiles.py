"""The files beside an experiment in the catalog, made from the record of its job.

`input.yaml`: the job order, each File and Directory with `location`, `sha256`, `size` and, where it has one, `stacId`;
a Directory with `files`: path below it, sha256 and size of each, which staging compares when it is run again; one that
was sent along with its files as a `listing`.
`environment.yaml`: engine, broker, platform, package, and the steps with images by digest and what they asked for.
`outputs.yaml`: output -> its files with path, sha256, size, mediaType and location, or its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

from broker.jobs.record import known

_HEADS = {
    "input.yaml": "Inputs of the run: a CWL job order. sha256 and size are those of the files that it read.",
    "environment.yaml": "What the run was done with.",
    "outputs.yaml": "What the run made.",
}


def experiment_files(
    record: Mapping[str, Any], places: Mapping[str, str], package: str | None, entry: str | None = None
) -> dict[str, bytes]:
    """Name -> content. `places`: path of an input or output of the record -> the address to have it from, where its
    record says none; `package`: the address of the package; `entry`: what of it ran."""
    documents = {
        "input.yaml": _Order(record, places).order(record["jobOrder"]),
        "environment.yaml": environment(record, package, entry),
        "outputs.yaml": outputs(record, places),
    }
    return {
        name: f"# {_HEADS[name]}\n".encode()
        + yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=120, encoding="utf-8")
        for name, value in documents.items()
    }


def lacking(record: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[str]:
    """Why the inputs do not suffice to run it again: a sentence for each."""
    order, inputs = record["jobOrder"], record.get("inputs") or {}
    if set(order) == {"sha256", "size"} and set(inputs) != set(order):
        yield "The inputs are too large for a record: only their digest is known."
        return
    for name, value in inputs.items():
        if isinstance(value, Mapping):
            kept = value.get("value")
            if isinstance(kept, Mapping) and set(kept) == {"sha256", "size"}:
                yield f"The input {name} is too large for a record: only its digest is known."
            continue
        for entry in value:
            files = entry.get("files") or ()
            if not _readable(entry, places) and not (files and all(_readable(one, places) for one in files)):
                yield f"The input {name} ({entry['path']}) was uploaded or sent along: nobody else can read it yet."
            elif not entry.get("sha256") and not (files and all(one.get("sha256") for one in files)):
                yield f"The sha256 of the input {name} ({entry['path']}) is not known."


def _readable(entry: Mapping[str, Any], places: Mapping[str, str]) -> bool:
    return bool(entry.get("location")) or entry["path"] in places


def environment(record: Mapping[str, Any], package: str | None, entry: str | None = None) -> dict[str, Any]:
    """What a run was done with."""
    process, platform = record["process"], record.get("platform") or {}
    facts = ("name", "adapter", "adapterVersion", "isolation", "containerEngine")
    return known(
        {
            "engine": record.get("engine"),
            "broker": {"name": "earthcode-broker", **(record.get("broker") or {})},
            "platform": known({name: _without_host(platform.get(name)) for name in facts}),
            "process": known({name: process.get(name) for name in ("id", "version", "kind")}),
            "package": known(
                {
                    "digest": process.get("digest"),
                    "submittedDigest": process.get("submitted_digest"),
                    "mediaType": process.get("mediaType"),
                    "href": package,
                    "entry": entry,
                    "source": process.get("source"),
                }
            ),
            "steps": [_step(step) for step in record.get("steps") or ()] or None,
            "delegated": record.get("delegated"),
            "children": record.get("children"),
            "job": known({name: record["job"].get(name) for name in ("id", "started", "finished")}),
        }
    )


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    image, digest = step.get("image"), step.get("imageDigest")
    return known({"name": step.get("name"), "image": image, "imageDigest": digest, "requested": step.get("requested")})


def outputs(record: Mapping[str, Any], places: Mapping[str, str]) -> dict[str, Any]:
    """What a run made."""
    found: dict[str, Any] = {}
    for name, value in (record.get("outputs") or {}).items():
        if isinstance(value, Mapping):
            found[name] = dict(value)
            continue
        facts = ("path", "sha256", "size", "mediaType", "stacId")
        found[name] = [
            known({**{fact: one.get(fact) for fact in facts}, "location": places.get(one["path"])}) for one in value
        ]
    return found


class _Order:
    """A job order with addresses that others can use."""

    def __init__(self, record: Mapping[str, Any], places: Mapping[str, str]) -> None:
        self.places = places
        entries = (one for value in (record.get("inputs") or {}).values() if isinstance(value, list) for one in value)
        self.entries = {str(one["path"]): one for one in entries}

    def order(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.order(one) for one in value]
        if not isinstance(value, Mapping):
            return value
        found = {key: self.order(one) for key, one in value.items()}
        if value.get("class") in ("File", "Directory"):
            path = str(value.get("location") or value.get("path") or "")
            entry = self.entries.get(path, {})
            if location := entry.get("location") or self.places.get(path):
                found.pop("path", None)
                found["location"] = location
            found |= {key: entry[key] for key in ("sha256", "size", "stacId", "mediaType") if key in entry}
            if "listing" not in value:
                found = self.inside(found, path, entry.get("files") or ())
        return found

    def inside(self, found: dict[str, Any], path: str, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """With the files of a Directory: what they have to be where it lies somewhere, else where each lies."""
        known_of = [
            known({"path": one["path"].removeprefix(f"{path}/"), "sha256": one.get("sha256"), "size": one.get("size")})
            for one in files
        ]
        where = [one.get("location") or self.places.get(one["path"]) for one in files]
        if found.get("location", path) == path and files and all(where):
            listing = _listing([{**one, "location": place} for one, place in zip(known_of, where, strict=True)])
            rest = {key: one for key, one in found.items() if key not in ("location", "path", "size", "stacId")}
            return {**rest, "listing": listing}
        if checked := [one for one in known_of if "sha256" in one]:
            found["files"] = checked
        return found


def _listing(files: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Files by their paths below a directory, as CWL has them: directories within as nested listings."""
    below: dict[str, list[Mapping[str, Any]]] = {}
    found = []
    for one in files:
        name, slash, rest = one["path"].partition("/")
        if slash:
            below.setdefault(name, []).append({**one, "path": rest})
        else:
            found.append({"class": "File", "basename": name, **{key: one[key] for key in one if key != "path"}})
    return [
        *found,
        *({"class": "Directory", "basename": name, "listing": _listing(inside)} for name, inside in below.items()),
    ]


def _without_host(name: str | None) -> str | None:
    """A local platform is `name@host`: the host is nobody's business."""
    return name.partition("@")[0] if name else name
