"""Synchronous requests: nothing is kept there, so the handle has the request, and reading the result makes it."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

from adapters.openeo import graph, request, status
from adapters.openeo.api import Api
from adapters.openeo.download import Download
from adapters.openeo.results import Layout
from adapters.openeo.workspace import Workspace
from broker.jobs.model import JobSpec, Step
from broker.jobs.record import moment
from broker.platform import Attempt, Collected, Handle, Observation, State, only_asked


class Synchronous:
    """The verbs of `broker.platform.Platform` for attempts whose handle has `sync`; nothing runs between two calls."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def submit(self, spec: JobSpec) -> Iterator[Handle]:
        with only_asked():
            body = request.body(self.api, spec, synchronous=True)
        yield {"sync": body, "began": time.time()} | request.kept(spec)

    def observe(self, attempt: Attempt) -> Observation:
        return Observation(attempt.name, State.SUCCEEDED, started=_handle(attempt)["began"], finished=time.time())

    def collect(self, attempt: Attempt) -> Collected:
        handle, layout = _handle(attempt), _layout(attempt)
        step = Step(status.STEP, "successful", handle["began"], time.time())
        job = {"process": handle["sync"]["process"]}
        facts = status.facts(self.api.capabilities(), self.api.base, job, mode="sync")
        return Collected(
            layout.outputs(handle.get("outputs")), tuple(part.file() for part in layout.parts), (step,), facts
        )

    def open(self, attempt: Attempt, ref: str, offset: int) -> BinaryIO:
        part = _layout(attempt).named(ref)
        if part.text is not None:
            return io.BytesIO(part.text.encode()[offset:])
        asked = _handle(attempt)["sync"]
        return io.BufferedReader(Download(part, lambda *_: self.api.execute(asked), lambda: part, offset))

    def release(self, attempt: Attempt) -> None:
        """Nothing is kept there but the files that were sent for it."""
        Workspace(self.api).remove(attempt)


def _handle(attempt: Attempt) -> Handle:
    return attempt.handle or {}


def _layout(attempt: Attempt) -> Layout:
    """A result without metadata of its own: one item, whose asset is what the request gives."""
    handle = _handle(attempt)
    suffix, media = graph.format_of(handle["sync"]["process"]["process_graph"])
    item: dict[str, Any] = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "result",
        "geometry": None,
        "properties": {"datetime": moment(handle["began"])},
        "links": [],
        "assets": {"result": {"href": f"result{suffix}", "type": media, "roles": ["data"]}},
    }
    return Layout(item)
