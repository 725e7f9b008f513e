"""The files of a job's inputs, read as JSON: geometries go into the process graph by value."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any

from broker.egress import Egress, FetchError, shown
from broker.errors import EgressRefused, PlatformRefused, PlatformUnavailable
from broker.jobs.model import StageItem
from broker.jobs.secrets import origin
from broker.runner.fetch import local_path
from broker.storage.local import open_regular

LARGEST = 2**20  # bytes of one, since all of it is part of a request


def read(items: Iterable[StageItem], egress: Egress, own: Mapping[str, str]) -> dict[str, Any]:
    """location -> what is in it. `own`: Authorization by origin, of the person whose job it is.

    Raises PlatformRefused for what cannot be read or is no JSON, PlatformUnavailable where that may pass.
    """
    return {f"inputs/{item.path}": _document(item, egress, own) for item in items}


def _document(item: StageItem, egress: Egress, own: Mapping[str, str]) -> Any:
    if item.directory or item.stac:
        raise _wrong(item, "is a directory, which an openEO process cannot be given")
    raw = _bytes(item, egress, own)
    if len(raw) > LARGEST:
        raise _wrong(item, f"has more than {LARGEST} bytes, and geometries are sent in the request")
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise _wrong(item, "is not JSON") from None


def _bytes(item: StageItem, egress: Egress, own: Mapping[str, str]) -> bytes:
    if item.text is not None:
        return item.text.encode()
    if item.data is not None:
        return b64decode(item.data)
    url = str(item.url)
    try:
        if item.trusted and url.startswith("file:"):
            with open_regular(local_path(url)) as file:
                return file.read(LARGEST + 1)
        known = None if item.packaged or item.trusted else own.get(origin(url) or "")
        headers = {"Authorization": known} if known else {}
        with egress.open(url, headers=headers, trusted=item.trusted, limit=LARGEST) as answer:
            return answer.read()
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
