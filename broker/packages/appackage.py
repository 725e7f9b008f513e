"""Reads the bodies of deploy requests: CWL in its media types, and OGC application packages (Part 2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from broker.errors import LimitError, PackageError
from broker.packages import ogcapi, openeo
from broker.packages.bundle import Bundle, build
from broker.packages.closure import Read
from broker.packages.cwl import MAX_DEPTH, parse
from broker.packages.deployment import Deployment
from broker.packages.media import BUNDLE_TYPE, CWL_TYPES, OPENEO_TYPE, YAML_TYPES, taken
from broker.packages.units import WHOLE, Clone, Reach, held, unit

MAX_BODY = 12 * 2**20


def deployment(
    body: bytes, content_type: str, *, process: str | None, read: Read | None, clone: Clone | None = None
) -> Deployment:
    """Read a deploy request. `process`: its `?w=`; `read` gets the bytes of https links, `clone` commits from git.

    Raises UnsupportedMediaType, PackageError (and its kinds), LimitError.
    """
    media = taken(content_type)
    if media in CWL_TYPES or media in YAML_TYPES:
        bundle = build(body, process=process, read=read)
        return Deployment(bundle, body, media if media in CWL_TYPES else "application/cwl+yaml", _own_id(bundle))
    if media == BUNDLE_TYPE:
        bundle = held(_json(body), process)
        return Deployment(bundle, body, media, _own_id(bundle), kind=bundle.kind)
    whole = _json(body)
    own = isinstance(whole, Mapping) and "executionUnit" not in whole and any(key in whole for key in WHOLE)
    if own or media == OPENEO_TYPE:
        graph = media == OPENEO_TYPE or "process_graph" in whole
        bundle = build(body, name="process.json" if graph else "package.cwl", process=process, read=read)
        kind = openeo.MEDIA_TYPE if bundle.kind == openeo.KIND else "application/cwl+json"
        return Deployment(bundle, body, kind, _own_id(bundle), kind=bundle.kind)
    return _package(whole, body, Reach(process, read, clone))


def _json(body: bytes) -> Any:
    """A JSON body: larger than one document where it holds a bundle. Errors name the line."""
    if len(body) > MAX_BODY:
        raise LimitError(f"The body has more than {MAX_BODY // 2**20} MiB.", hint="Pass data as inputs of executions.")
    try:
        value = json.loads(body)
    except UnicodeDecodeError:
        raise PackageError("This is not UTF-8 text.", file="body", hint="Save it as UTF-8.") from None
    except json.JSONDecodeError as error:
        raise PackageError(
            f"This is not valid JSON: {error.msg}.",
            file="body",
            line=error.lineno,
            column=error.colno,
            hint="Send YAML as application/cwl+yaml.",
        ) from None
    except RecursionError:
        raise PackageError("The body is nested too deeply.", file="body") from None
    _shallow(value)
    return value


def _shallow(value: Any) -> None:
    """Raise PackageError for JSON nested deeper than a document may be (with some levels around it)."""
    level = [value]
    for _ in range(MAX_DEPTH + 8):
        level = (
            [
                one
                for outer in level
                for one in (outer.values() if isinstance(outer, dict) else outer)
                if isinstance(one, dict | list)
            ]
            if level and isinstance(level[0], dict | list)
            else []
        )
        if not level:
            return
    raise PackageError("The body is nested too deeply.", file="body")


def _own_id(bundle: Bundle) -> str | None:
    """The id of the process in its document: `main` and the like say nothing, and are left out."""
    document = parse(bundle.documents[bundle.document], bundle.document)
    name = bundle.entry.partition("#")[2] or str(document.get("id") or "").rpartition("#")[2]
    return None if name in ("", "main") else name


def _package(whole: Any, body: bytes, reach: Reach) -> Deployment:
    if not isinstance(whole, Mapping) or "executionUnit" not in whole:
        raise PackageError(
            "The application package has no executionUnit.",
            hint='Write {"executionUnit": {"href": "https://…", "type": "application/cwl"}}, or send CWL itself.',
        )
    described = _description(whole)
    found = unit(whole["executionUnit"], described, reach)
    wanted = described.get("id")
    if wanted is not None and not (isinstance(wanted, str) and wanted.strip()):
        raise PackageError("The id of processDescription is not a text.")
    if found.image:
        described = {**described, "schemas": True}
    elif found.bundle.kind == ogcapi.KIND:
        described = {**ogcapi.words(found.bundle.documents, found.bundle.entry), **described}
        wanted = described["id"]
    name = wanted or _own_id(found.bundle)
    return Deployment(
        found.bundle,
        body,
        "application/ogcapppkg+json",
        name,
        described,
        "docker" if found.image else found.bundle.kind,
        source=found.source,
    )


def _description(whole: Mapping[str, Any]) -> dict[str, Any]:
    """`processDescription`, flat (as the Part 2 test suite sends it) or in `.process` (as the standard says)."""
    found = whole.get("processDescription")
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise PackageError("processDescription is not an object.")
    inner = found.get("process")
    if isinstance(inner, Mapping):
        return dict(inner)
    if isinstance(inner, str) and "id" not in found:
        return {**found, "id": inner}
    return dict(found)
