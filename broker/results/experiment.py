"""An experiment of the Open Science Catalog, resolved: what it ran, on what, with what, and what came out.

    record.json --osc:workflow, related--> workflow record --application, process_graph--> application package
                --input--> input.yaml          --environment--> environment.yaml          --output--> outputs.yaml

Records and files are strangers': nothing is taken for granted, and all that is wrong is told as a remark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any
from urllib.parse import urljoin, urlsplit

from broker.errors import BrokerError, InputError, InputProblem, LimitError, PackageError
from broker.packages.cwl import parse
from broker.packages.images import Reference
from broker.results.osc import HOME, entry_path
from broker.results.recordparts import DIGEST
from broker.results.workflowkind import Package, Remark, links_of, package_of

Read = Callable[[str, int], bytes]  # address, most bytes -> content; raises BrokerError
MAX_RECORD = 2**20  # bytes
MAX_YAML = 2**19
MAX_PACKAGE = 12 * 2**20  # as much as a deployment takes
MOST_OUTPUTS = 20_000  # files
LONGEST = 200
UNREACHABLE = "package-unreachable"  # the code of a remark
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_COMMENTS = ("$comment", "cwl:tool", "id", "$schema")
_ADDRESS = ("https://", "http://", "s3://", "data:")


@dataclass(frozen=True, slots=True)
class Experiment:
    """`name`: its id; `href`: of its record; `workflow`: {id, title, version}; `package`: what it ran, None where that
    cannot be run; `digest`: sha256 (hex) of the closed package that ran, and `entry` what it started in it; `inputs`:
    of an execute request; `environment`: environment.yaml; `outputs`: path -> {sha256, size, href, mediaType};
    `remarks`: what keeps it from being run again, or may."""

    name: str
    title: str
    href: str
    workflow: Mapping[str, Any] = field(default_factory=dict)
    package: Package | None = None
    digest: str | None = None
    entry: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    remarks: tuple[Remark, ...] = ()

    @property
    def platform(self) -> str | None:
        """Where it ran."""
        return _text(_mapping(self.environment.get("platform")).get("name"))

    @property
    def process_id(self) -> str | None:
        """What the process was called where it ran."""
        return _text(_mapping(self.environment.get("process")).get("id"))

    @property
    def images(self) -> dict[str, str]:
        """Container image (in full spelling) -> the digest that its registry had for it when it ran. Apptainer's is
        that of a file which it made of the image."""
        if _mapping(self.environment.get("platform")).get("containerEngine") == "apptainer":
            return {}
        steps = self.environment.get("steps")
        found: dict[str, str] = {}
        for step in map(_mapping, steps if isinstance(steps, list) else ()):
            try:
                image = Reference.parse(str(step.get("image")))
                found[str(image)] = str(Reference.parse(f"{image.repository}@{step.get('imageDigest')}").digest)
            except PackageError:
                continue
        return found


def resolve(address: str, read: Read) -> Experiment:
    """The experiment whose record is at an address. Raises InputError where there is no such record."""
    return _Resolving(address, read).experiment()


class _Resolving:
    """Reads what belongs to one experiment, and collects remarks."""

    def __init__(self, address: str, read: Read) -> None:
        self.address, self.read = address, read
        self.remarks: list[Remark] = []
        try:
            self.record = _record(read(address, MAX_RECORD))
        except BrokerError as error:
            raise InputError(InputProblem("/experiment", error.detail), hint=error.hint) from error
        except ValueError as error:
            raise InputError(InputProblem("/experiment", f"{_shown(address)} {error}")) from error
        self.properties = _mapping(self.record.get("properties"))
        if self.properties.get("type") != "experiment":
            kind = _text(self.properties.get("type")) or _text(self.record.get("type")) or "something else"
            raise InputError(InputProblem("/experiment", f"{_shown(address)} is no experiment, but a {kind}"))

    def experiment(self) -> Experiment:
        name = _text(self.record.get("id")) or "experiment"
        workflow, at = self.workflow()
        environment = self.yaml("environment") or {}
        package, remarks = package_of(at, workflow, self.address, self.record)
        ran = _mapping(environment.get("package"))
        self.remarks += remarks
        properties = _mapping(workflow.get("properties"))
        facts = {"id": workflow.get("id"), "title": properties.get("title"), "version": properties.get("version")}
        entry = _text(ran.get("entry"))
        digest = _sha256(ran.get("digest")) or _sha256(properties.get(DIGEST))
        if package is not None and digest is None:
            message = "Nothing says which version of its package ran (package.digest of environment.yaml)."
            self.say("warning", "digest-unknown", message, "Whether the package has changed since then is not known.")
        return Experiment(
            name=name,
            title=_text(self.properties.get("title")) or name,
            href=self.address,
            workflow={key: found for key, value in facts.items() if (found := _text(value))},
            package=None if package is None else self.read_package(package, entry),
            digest=digest,
            entry=entry,
            inputs=self.inputs(),
            environment=environment,
            outputs=self.outputs(),
            remarks=tuple(self.remarks),
        )

    def say(self, level: str, code: str, message: str, advice: str | None = None) -> None:
        self.remarks.append(Remark(level, code, message, advice))

    def read_package(self, package: Package, entry: str | None) -> Package:
        """With its content, where that is one file. One of others lies on the web, and may refer to more there: that
        is for the deployment to fetch."""
        if entry is None and not package.href.startswith(self.address.partition("/experiments/")[0]):
            return package
        try:
            return replace(package, content=self.read(package.href, MAX_PACKAGE))
        except BrokerError as error:
            self.say("error", UNREACHABLE, f"Its package cannot be read: {error.detail}", _ASK)
            return package

    def workflow(self) -> tuple[Mapping[str, Any], str]:
        """The record of the workflow, and its address."""
        name = _text(self.properties.get("osc:workflow"))
        hrefs = [href for link, href in _links(self.record, "related") if "/workflows/" in href]
        named = next((href for href in hrefs if name is None or f"/workflows/{name}/" in href), None)
        if named is None and name is not None:
            named = f"../../{entry_path('workflows', name)}"
        if named is None:
            self.say("error", "no-workflow", "The record names no workflow (osc:workflow).", _ASK)
            return {}, self.address
        at = urljoin(self.address, named)
        try:
            return _record(self.read(at, MAX_RECORD)), at
        except (BrokerError, ValueError) as error:
            why = error.detail if isinstance(error, BrokerError) else f"{_shown(at)} {error}"
            self.say("error", "workflow-unreachable", f"The record of its workflow cannot be read: {why}", _ASK)
            return {}, at

    def yaml(self, rel: str, *, needed: bool = True) -> dict[str, Any] | None:
        """The mapping in the file that a link leads to; what is wrong with it is a remark (an error for inputs)."""
        level = "error" if rel == "input" else "warning"
        href = next((href for _, href in _links(self.record, rel)), None)
        if href is None:
            if needed:
                self.say(level, f"no-{rel}", f"The record has no link to its {rel} (rel={rel}).", _ADVICE[rel])
            return None
        at = urljoin(self.address, href)
        if not urlsplit(at).path.lower().endswith((".yaml", ".yml", ".json")) or at.endswith("/collection.json"):
            message = f"Its {rel} leads to {_shown(at)}, which is no file of {_WHAT[rel]}."
            self.say(level, f"{rel}-elsewhere", message, _ADVICE[rel])
            return None
        try:
            raw = self.read(at, MAX_YAML)
            found = _plain(parse(raw.decode("utf-8", "strict"), at)) if raw.strip() else None
        except (PackageError, LimitError, UnicodeDecodeError) as error:
            why = error.detail if isinstance(error, BrokerError) else "it is not UTF-8 text"
            self.say(level, f"{rel}-invalid", f"{_shown(at)} cannot be understood: {why}", _ADVICE[rel])
            return None
        except BrokerError as error:
            self.say(level, f"{rel}-unreachable", f"{_shown(at)} cannot be read: {error.detail}", _ADVICE[rel])
            return None
        if not isinstance(found, dict) or not set(found) - {"$comment"}:
            said = "is empty" if not found else "holds nothing that has a name"
            self.say(level, f"{rel}-empty", f"{_shown(at)} {said}: nobody knows {_WHAT[rel]}.", _ADVICE[rel])
            return None
        return found

    def inputs(self) -> dict[str, Any]:
        """The inputs of an execute request: of a job order, of an execute request, or `parameters` as others write."""
        found = self.yaml("input")
        if found is None:
            return {}
        if set(found) == {"sha256", "size"}:
            self.say("error", "input-digest", "Only the digest of its inputs was published: they were too large.", _ASK)
            return {}
        for member in ("inputs", "parameters"):
            if member in found and set(found) <= {member, "outputs", *_COMMENTS}:
                found = dict(_mapping(found[member]))
        order = {key: value for key, value in found.items() if key not in _COMMENTS}
        for name, value in order.items():
            for message in _unreadable(name, value):
                advice = "Ask who published it for the file, and give it: --input NAME=@FILE, or inputs in the request."
                self.say("error", "input-not-public", message, advice)
        return order

    def outputs(self) -> dict[str, dict[str, Any]]:
        """What was made, by path."""
        found = self.yaml("output", needed=False) or {}
        entries = (one for value in found.values() if isinstance(value, list) for one in value)
        made: dict[str, dict[str, Any]] = {}
        for one in islice(entries, MOST_OUTPUTS):
            path, digest = _text(_mapping(one).get("path")), _sha256(_mapping(one).get("sha256"))
            if path is None or digest is None or path.startswith("/") or ".." in path.split("/"):
                continue
            size, href = one.get("size"), _text(one.get("location"))
            made[path] = {
                "sha256": digest,
                "size": size if isinstance(size, int) and size >= 0 else None,
                "href": href if href and href.startswith(("https://", "http://")) else None,
                "mediaType": _text(one.get("mediaType")),
            }
        if not made:
            message = "It does not say what it made (rel=output, with path and sha256 of each file)."
            self.say("warning", "no-outputs", message, "Without that there is nothing to compare with.")
        return made


_ASK = "Ask who published it: the contacts of the record."
_WHAT = {"input": "what it ran on", "environment": "what it ran with", "output": "what it made"}
_ADVICE = {
    "input": "Give the inputs: --input NAME=VALUE, or inputs in the request.",
    "environment": "Versions and image digests of the first run cannot be checked.",
    "output": "There is nothing to compare with.",
}


def _record(raw: bytes) -> Mapping[str, Any]:
    """Raises ValueError, which says what it is."""
    try:
        found = json.loads(raw)
        json.dumps(
            found, ensure_ascii=False
        ).encode()  # half a character (\\ud800) is no text that can be shown or kept
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(found, Mapping):
        raise ValueError("is not a record")
    return found


def _links(record: Mapping[str, Any], rel: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    return ((one, one["href"]) for one in links_of(record) if one.get("rel") == rel)


def _unreadable(name: str, value: Any) -> Iterator[str]:
    """Why an input cannot be had by others: its Files lie nowhere, or only its digest is known."""
    if isinstance(value, list):
        for one in value:
            yield from _unreadable(name, one)
    elif isinstance(value, dict) and value.get("class") in ("File", "Directory"):
        where = value.get("location", value.get("path"))
        if where is None and ("contents" in value or "listing" in value):
            yield from _unreadable(name, value.get("listing"))
        elif not isinstance(where, str) or not where.startswith(_ADDRESS):
            kind = value["class"].lower()
            yield f"The {kind} of the input {name} ({_shown(str(where))}) lies at no address that others can read."
    elif isinstance(value, dict) and set(value) == {"sha256", "size"}:
        yield f"Only the digest of the input {name} was published."


def _plain(value: Any) -> Any:
    """What the YAML reader gave, without its line numbers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return value[:2000] if isinstance(value, str) and value.strip() else None


def _sha256(value: Any) -> str | None:
    return value if isinstance(value, str) and _SHA256.match(value) else None


def _shown(address: str) -> str:
    """An address as remarks have it."""
    return address.removeprefix(HOME)[:LONGEST]
