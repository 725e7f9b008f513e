"""Reads the bodies of deploy requests: CWL in its media types, and OGC application packages (Part 2)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urldefrag

from broker.errors import BrokerError, LimitError, PackageError, UnsupportedMediaType, UnsupportedPackage
from broker.packages.bundle import Bundle, build
from broker.packages.closure import Read
from broker.packages.cwl import MAX_DEPTH, parse
from broker.packages.deployment import Deployment
from broker.packages.docker import tool
from broker.packages.keys import named

CWL_TYPES = ("application/cwl", "application/cwl+json", "application/cwl+yaml", "application/x-cwl")
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
PACKAGE_TYPES = ("application/ogcapppkg+json", "application/json")
MAX_BODY = 12 * 2**20
BUNDLE_TYPE = "application/vnd.earthcode-broker.bundle+json"


def deployment(body: bytes, content_type: str, *, process: str | None, read: Read | None) -> Deployment:
    """Read a deploy request. `process`: its `?w=`; `read` gets the bytes of https links.

    Raises UnsupportedMediaType, PackageError (and its kinds), LimitError.
    """
    media = content_type.split(";")[0].strip().lower()
    if media in CWL_TYPES or media in YAML_TYPES:
        bundle = build(body, process=process, read=read)
        return Deployment(bundle, body, media if media in CWL_TYPES else "application/cwl+yaml", _own_id(bundle))
    if media == BUNDLE_TYPE:
        bundle = _held(_json(body), process)
        return Deployment(bundle, body, media, _own_id(bundle))
    if media not in PACKAGE_TYPES:
        raise UnsupportedMediaType(
            f"A package of the media type {media or 'that is not given'} cannot be deployed.",
            hint="Send application/cwl+yaml, application/cwl+json or application/ogcapppkg+json.",
        )
    whole = _json(body)
    if isinstance(whole, Mapping) and "executionUnit" not in whole and ("cwlVersion" in whole or "$graph" in whole):
        bundle = build(body, process=process, read=read)
        return Deployment(bundle, body, "application/cwl+json", _own_id(bundle))
    return _package(whole, body, process, read)


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


def _package(whole: Any, body: bytes, process: str | None, read: Read | None) -> Deployment:
    if not isinstance(whole, Mapping) or "executionUnit" not in whole:
        raise PackageError(
            "The application package has no executionUnit.",
            hint='Write {"executionUnit": {"href": "https://…", "type": "application/cwl"}}, or send CWL itself.',
        )
    described = _description(whole)
    unit = whole["executionUnit"]
    bundle, kind = _unit(unit, described, process, read)
    wanted = described.get("id")
    if wanted is not None and not (isinstance(wanted, str) and wanted.strip()):
        raise PackageError("The id of processDescription is not a text.")
    if kind == "docker":
        described = {**described, "schemas": True}
    return Deployment(bundle, body, "application/ogcapppkg+json", wanted or _own_id(bundle), described, kind)


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


def _unit(unit: Any, described: Mapping[str, Any], process: str | None, read: Read | None) -> tuple[Bundle, str]:
    if isinstance(unit, list):
        if len(unit) != 1:
            raise UnsupportedPackage(
                f"An application package of {len(unit)} execution units is not supported.",
                hint="Put all processes into one CWL document with $graph.",
            )
        return _unit(unit[0], described, process, read)
    if isinstance(unit, str):
        return build(unit, process=process, read=read), "cwl"
    if not isinstance(unit, Mapping):
        raise PackageError("executionUnit is not an object.", hint="Write a link with href, or a CWL document.")
    if "unit" in unit:
        return _unit(unit["unit"], described, process, read)
    if "href" in unit:
        return _linked(unit["href"], process, read), "cwl"
    if "value" in unit:
        return _valued(unit, process, read), "cwl"
    if "cwlVersion" in unit or "$graph" in unit:
        return build(_text(unit), process=process, read=read), "cwl"
    if "image" in unit or unit.get("type") in ("docker", "oci"):
        return build(_text(tool(unit, described))), "docker"
    kind = unit.get("type") or unit.get("mediaType")
    raise UnsupportedPackage(
        f"An executionUnit of the type {kind!r} is not supported." if kind else "The executionUnit names no CWL.",
        hint='Write {"href": "https://…", "type": "application/cwl"}, or {"value": {…}, "mediaType": …}.',
    )


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def _valued(unit: Mapping[str, Any], process: str | None, read: Read | None) -> Bundle:
    media = str(unit.get("mediaType") or "").split(";")[0].strip().lower()
    value = unit["value"]
    if media == BUNDLE_TYPE:
        return _held(value, process)
    if media and media not in CWL_TYPES and media not in YAML_TYPES and media != "application/json":
        raise UnsupportedMediaType(f"An executionUnit of the media type {media} cannot be deployed.",
                                   hint="Use application/cwl+json.")  # fmt: skip
    if isinstance(value, str):
        return build(value, process=process, read=read)
    return build(_text(value), process=process, read=read)


def _held(value: Any, process: str | None) -> Bundle:
    """A bundle that a client closed: closed again from its own parts, so that it is checked as any other package."""
    sent = Bundle.from_json(value)

    def read(key: str) -> bytes:
        if key in sent.documents:
            return sent.documents[key].encode()
        if key in sent.files:
            return base64.b64decode(sent.files[key])
        raise FileNotFoundError(2, "it is not in the bundle", key)

    def listing(key: str) -> list[str]:
        return [name.removeprefix(f"{key}/") for name in sent.files if name.startswith(f"{key}/") and name[-1] != "/"]

    document, _, chosen = sent.entry.partition("#")
    return build(sent.documents[document], name=document, process=process or chosen or None, read=read, listing=listing)


def _linked(href: Any, process: str | None, read: Read | None) -> Bundle:
    if not isinstance(href, str) or not href.lower().startswith(("https://", "http://")):
        raise PackageError(f"The link {str(href)[:200]!r} cannot be read.", hint="Use an https link.")
    if read is None:
        raise PackageError("Packages by link are not read here.", hint="Send the document itself.")
    url, fragment = urldefrag(href)
    try:
        data = read(url)
    except PackageError:
        raise
    except (BrokerError, OSError) as error:
        detail = error.detail if isinstance(error, BrokerError) else str(error)
        raise PackageError(f"{url} cannot be read: {detail}", hint=getattr(error, "hint", None)) from error
    return build(data, name=named(url), process=process or fragment or None, read=read, base=url)
