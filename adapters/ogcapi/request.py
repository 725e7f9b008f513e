"""Execute requests: a job order and what brings its files become the inputs of OGC API - Processes. No network here."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from broker.errors import PlatformRefused
from broker.jobs.model import JobSpec, StageItem
from broker.jobs.secrets import origin, unsigned_link
from broker.packages.docker import named, schema_of
from broker.packages.ogcapi import MEDIA
from broker.storage.signing import S3Account

LINK_SECONDS = 24 * 3600.0
_BBOX = frozenset({"bbox", "crs"})
_PLAIN = frozenset({"number", "integer", "boolean"})


@dataclass(frozen=True, slots=True)
class Sending:
    """How files reach the server: `most` bytes by value, `s3` accounts (by bucket, "*" for all others) sign links."""

    most: int
    s3: Mapping[str, Mapping[str, Any]]


def execute_request(spec: JobSpec, described: Mapping[str, Any], sending: Sending, *, draft: bool) -> dict[str, Any]:
    """The body of an execution: `described` is the process there; `draft`: in the words of 2.0.

    Title and tag name the job, for servers that keep them. Raises PlatformRefused for an input that cannot be sent.
    """
    writer = _Writer(spec, sending)
    inputs = {name: writer.input(name, value) for name, value in spec.job_order.items() if value is not None}
    body: dict[str, Any] = {"inputs": inputs, "title": spec.title or spec.process, "tags": [spec.name]}
    if draft:
        return body
    return body | packaging(described)


def packaging(described: Mapping[str, Any]) -> dict[str, Any]:
    """How the outputs are wanted (1.0): in a document, those that may be large by reference where the process gives
    references. Where it gives none, a single large one raw: bytes are not JSON (with which pygeoapi fails)."""
    modes = {
        name: {"transmissionMode": "value" if _small(one) else "reference"}
        for name, one in named(described.get("outputs"))
    }
    large = any(one["transmissionMode"] == "reference" for one in modes.values())
    offered = described.get("outputTransmission")
    if large and isinstance(offered, list) and "reference" in offered:
        return {"response": "document", "outputs": modes}
    return {"response": "raw" if large and len(modes) == 1 else "document"}


def _small(output: Mapping[str, Any]) -> bool:
    schema = schema_of(output)
    if {"contentMediaType", "contentEncoding", "oneOf", "anyOf", "items"} & {*schema} or "x-cwl" in output:
        return False
    return schema.get("type") in _PLAIN or (schema.get("type") == "string" and "format" not in schema)


def recorded(body: Mapping[str, Any]) -> dict[str, Any]:
    """A request as the record of provenance may have it: links unsigned, contents as their digests."""
    return {key: _recorded(value) for key, value in body.items() if key in ("inputs", "outputs", "response")}


def _recorded(value: Any) -> Any:
    if isinstance(value, list):
        return [_recorded(one) for one in value]
    if isinstance(value, str):
        return unsigned_link(value)
    if not isinstance(value, Mapping):
        return value
    if "mediaType" in value and "value" in value:
        raw = value["value"] if isinstance(value["value"], str) else json.dumps(value["value"], sort_keys=True)
        content = base64.b64decode(raw) if value.get("encoding") == "base64" else raw.encode()
        return {"mediaType": value["mediaType"], "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    return {key: _recorded(one) for key, one in value.items()}


class _Writer:
    """Writes values of a job order as values of an execute request."""

    def __init__(self, spec: JobSpec, sending: Sending) -> None:
        self.items = {item.path: item for item in spec.stage}
        self.sending = sending
        self.accounts = {**sending.s3, **spec.secrets.s3}
        self.closed = frozenset(spec.secrets.http)

    def input(self, name: str, value: Any) -> Any:
        """Objects are wrapped in `value` (1.0: objectInputs), but not bounding boxes, and nothing twice."""
        if isinstance(value, list):
            return [self.input(name, one) for one in value]
        plain = self.value(name, value)
        if not isinstance(plain, Mapping) or value.get("class") in ("File", "Directory"):
            return plain
        return plain if {*plain} <= _BBOX or "href" in plain or {*plain} == {"value"} else {"value": plain}

    def value(self, name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self.value(name, one) for one in value]
        if not isinstance(value, Mapping):
            return value
        if value.get("class") in ("File", "Directory"):
            return self.file(name, value)
        return {key: self.value(name, one) for key, one in value.items()}

    def file(self, name: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """A link, or the content. What has files of its own is sent as CWL has it, which brokers of our kind take."""
        item = self.items.get(str(value.get("location") or "").removeprefix("inputs/"))
        media = str(value.get("format") or "").removeprefix(MEDIA) or None
        inside = "listing" if value["class"] == "Directory" else "secondaryFiles"
        if value.get(inside):
            return self.compound(name, value, item, inside)
        if item is None:
            if isinstance(value.get("contents"), str):
                return _text(value["contents"], media)
            raise _unsendable(name, "its files are not known here")
        if item.url is None:
            return _by_value(item, media)
        url = self.link(name, item)
        if url is None:
            return self.content(name, item, media)
        kind = "application/directory" if item.directory else "application/json" if item.stac else media
        return {"href": url, "type": kind} if kind else {"href": url}

    def compound(self, name: str, value: Mapping[str, Any], item: StageItem | None, inside: str) -> dict[str, Any]:
        url = self.link(name, item) if item is not None and item.url is not None else None
        if url is None and value["class"] == "File":
            raise _unsendable(name, "it has secondary files, and is no link")
        parts = {inside: [self.cwl(name, one) for one in value[inside]]}
        kept = {key: value[key] for key in ("class", "basename", "format") if key in value}
        return kept | parts | ({"location": url} if url and value["class"] == "File" else {})

    def cwl(self, name: str, value: Mapping[str, Any]) -> dict[str, Any]:
        """A file inside another one, as a CWL object."""
        sent = self.file(name, value)
        if "class" in sent:
            return sent
        kept = {key: value[key] for key in ("class", "basename") if key in value}
        if "href" in sent:
            return kept | {"location": sent["href"]}
        if sent.get("encoding") or not isinstance(sent["value"], str):
            raise _unsendable(name, "a file in it is neither a link nor text")
        return kept | {"contents": sent["value"]}

    def link(self, name: str, item: StageItem) -> str | None:
        """An address that the server can fetch; None for a file of this machine."""
        url = str(item.url)
        if url.startswith("file:"):
            return None
        if origin(url) in self.closed and not item.trusted:
            raise _unsendable(name, "it needs your credentials, which no other server is given", "Use a signed link.")
        if url.lower().startswith("s3://"):
            bucket, _, key = url[5:].partition("/")
            account = self.accounts.get(bucket) or self.accounts.get("*")
            if account is not None and not item.directory:
                return S3Account.from_json(account).signed(bucket, unquote(key), LINK_SECONDS)
        return url

    def content(self, name: str, item: StageItem, media: str | None) -> dict[str, Any]:
        """A file of this machine, which the broker itself put there (an upload), by value."""
        path = Path(unquote(urlsplit(str(item.url)).path))
        if not item.trusted:
            raise _unsendable(name, "it is a file of this machine")
        if path.stat().st_size > self.sending.most:
            raise _unsendable(
                name,
                f"it is larger than the {self.sending.most} bytes that are sent by value",
                "Give it as a link that the platform can fetch.",
            )
        data = base64.b64encode(path.read_bytes()).decode()
        return {"value": data, "mediaType": media or "application/octet-stream", "encoding": "base64"}


def _by_value(item: StageItem, media: str | None) -> dict[str, Any]:
    if item.data is not None:
        return {"value": item.data, "mediaType": media or "application/octet-stream", "encoding": "base64"}
    return _text(item.text or "", "application/json" if item.stac else media)


def _text(text: str, media: str | None) -> dict[str, Any]:
    """Text, or the JSON value that it is."""
    if media is not None and media.endswith("json"):
        try:
            return {"value": json.loads(text), "mediaType": media}
        except ValueError:
            pass  # it only claims to be JSON
    return {"value": text, "mediaType": media or "text/plain"}


def _unsendable(name: str, why: str, hint: str | None = None) -> PlatformRefused:
    return PlatformRefused(
        f"The input {name} cannot be sent to the platform: {why}.",
        hint=hint,
        fault_of="input",
        code="input-unreachable",
    )
