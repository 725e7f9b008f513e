"""The files of a job's inputs: geometries are read as JSON, for they go into the process graph by value."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from io import BytesIO
from typing import Any, BinaryIO

from broker.egress import Egress, FetchError, shown
from broker.errors import EgressRefused, PlatformRefused, PlatformUnavailable
from broker.jobs.model import StageItem
from broker.jobs.secrets import origin
from broker.runner.fetch import local_path
from broker.storage.local import open_regular

LARGEST = 2**20  # bytes of a geometry, since all of it is part of a request
PIECE = 2**20


def read(items: Iterable[StageItem], egress: Egress, own: Mapping[str, str]) -> dict[str, Any]:
    """location -> what is in it. `own`: Authorization by origin, of the person whose job it is.

    Raises PlatformRefused for what cannot be read or is no JSON, PlatformUnavailable where that may pass.
    """
    return {f"inputs/{item.path}": _document(item, egress, own) for item in items}


def copy(item: StageItem, target: BinaryIO, egress: Egress, own: Mapping[str, str], most: int) -> None:
    """Write what an item holds to a file. Raises as `read`, also for more than `most` bytes."""
    if item.directory or item.stac:
        raise _wrong(item, "is a directory, which an openEO process cannot be given")
    left = most
    for piece in _pieces(item, egress, own):
        left -= len(piece)
        if left < 0:
            raise _wrong(item, f"has more than {most} bytes")
        target.write(piece)


def _document(item: StageItem, egress: Egress, own: Mapping[str, str]) -> Any:
    raw = BytesIO()
    copy(item, raw, egress, own, LARGEST)  # all of a geometry is part of the request
    try:
        return json.loads(raw.getvalue())
    except (ValueError, RecursionError):
        raise _wrong(item, "is not JSON") from None


def _pieces(item: StageItem, egress: Egress, own: Mapping[str, str]) -> Iterator[bytes]:
    if item.text is not None or item.data is not None:
        yield b64decode(item.data) if item.data is not None else str(item.text).encode()
        return
    url = str(item.url)
    try:
        if item.trusted and url.startswith("file:"):
            with open_regular(local_path(url)) as file:
                yield from iter(partial(file.read, PIECE), b"")
                return
        known = None if item.packaged or item.trusted else own.get(origin(url) or "")
        headers = {"Authorization": known} if known else {}
        with egress.open(url, headers=headers, trusted=item.trusted) as answer:
            yield from answer
    except FetchError as error:
        if error.transient:
            raise PlatformUnavailable(error.detail, retry_after=error.retry_after) from error
        raise _unreachable(item, str(error)) from error
    except (EgressRefused, OSError) as error:
        raise _unreachable(item, str(error)) from error


def _wrong(item: StageItem, detail: str) -> PlatformRefused:
    return PlatformRefused(f"The input {item.path} {detail}.", fault_of="input", code="invalid-input")


def _unreachable(item: StageItem, detail: str) -> PlatformRefused:
    named = item.path if item.trusted else shown(str(item.url))
    return PlatformRefused(f"The input {named} cannot be read: {detail}", fault_of="staging", code="input-unreachable")
