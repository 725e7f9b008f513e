"""A run crate as a zip: the metadata, the package as it was run, and the record of provenance. No data."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from broker.results.crategraph import package_path
from broker.results.notations import written

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same crate is the same bytes


def packed(metadata: Mapping[str, Any], record: Mapping[str, Any], bundle: Mapping[str, Any]) -> bytes:
    """The zip, a few times the size of the package at most."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in _contents(metadata, record, bundle).items():
            archive.writestr(zipfile.ZipInfo(path, _EPOCH), data, zipfile.ZIP_DEFLATED)
    return held.getvalue()


def _contents(metadata: Mapping[str, Any], record: Mapping[str, Any], bundle: Mapping[str, Any]) -> dict[str, bytes]:
    found = {"ro-crate-metadata.json": _json(metadata)}
    found |= {package_path(key): text.encode() for key, text in bundle["documents"].items()}
    found |= {
        package_path(key): base64.b64decode(data)
        for key, data in (bundle.get("files") or {}).items()
        if not key.endswith("/")
    }
    return found | {
        "provenance/record.json": _json(record),
        "provenance/prov.json": written(record, "json"),
        "provenance/prov.provn": written(record, "provn"),
    }


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
