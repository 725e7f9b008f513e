"""The results of a job as one JSON document (results.yaml): a File is a link; by value where that was asked for."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson

from broker.api.answers import JSON
from broker.api.outputs import Outputs, chosen
from broker.execution.collect import key
from broker.jobs.model import Job
from broker.storage import Storage
from broker.store.files import KeptFile

SMALL = 2**20  # bytes of a file that a document may hold by value


def transmission(wanted: Any, name: str) -> str | None:
    """The transmission mode that the request gave for an output, if any."""
    one = wanted.get(name) if isinstance(wanted, Mapping) else None
    return one.get("transmissionMode") if isinstance(one, Mapping) else None


def reads(job: Job, outputs: Outputs) -> bool:
    """Whether the document holds bytes of files, so that making it takes a while."""
    wanted = job.request.get("outputs")
    return any(_by_value(outputs, wanted, name, value) for name, value in chosen(outputs.values, wanted).items())


def document(storage: Storage, job: Job, outputs: Outputs) -> dict[str, Any]:
    """The outputs that the request asked for."""
    wanted = job.request.get("outputs")
    full = {}
    for name, value in chosen(outputs.values, wanted).items():
        row = _by_value(outputs, wanted, name, value)
        if row is None:
            full[name] = outputs.document(value)
        else:
            content = b"".join(storage.open(key(job, row.attempt, row.path)))
            full[name] = _value(content, row.media_type or "application/octet-stream")
    return full


def _by_value(outputs: Outputs, wanted: Any, name: str, value: Any) -> KeptFile | None:
    """The file whose bytes the document holds: where the request said so and it is small."""
    row = outputs.kept(value) if transmission(wanted, name) == "value" else None
    return row if row is not None and (row.size or 0) <= SMALL else None


def _value(content: bytes, media_type: str) -> Any:
    """Text as text, JSON as a value, anything else in base64."""
    plain = media_type.partition(";")[0]
    if plain == JSON or plain.endswith("+json"):
        try:
            return {"value": orjson.loads(content), "mediaType": media_type}
        except orjson.JSONDecodeError:
            pass  # it only claims to be JSON
    if plain.startswith("text/"):
        try:
            return {"value": content.decode(), "mediaType": media_type}
        except UnicodeDecodeError:
            pass
    return {"value": base64.b64encode(content).decode(), "encoding": "base64", "mediaType": media_type}
