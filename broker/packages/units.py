"""Execution units of an OGC application package (Part 2): CWL by value, by link or in git, container images, many."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urldefrag

from broker.errors import BrokerError, PackageError, UnsupportedMediaType, UnsupportedPackage
from broker.packages import credits
from broker.packages.bundle import Bundle, build
from broker.packages.closure import Read
from broker.packages.cwl import decode, parse
from broker.packages.docker import tool
from broker.packages.graph import fragment, processes
from broker.packages.keys import is_url, named
from broker.packages.media import BUNDLE_TYPE, CWL_TYPES, OPENEO_TYPE, YAML_TYPES
from broker.packages.pack import received
from broker.packages.repository import Place, Tree

MAX_UNITS = 50
WHOLE = ("cwlVersion", "$graph", "process_graph")  # a mapping with one of these is a package itself
# Gives a git server's answer with the commit of a place (`egress.git.commit`).
Clone = Callable[[Place], bytes]


@dataclass(frozen=True, slots=True)
class Reach:
    """What a package may be read from besides the request. `process`: which one of a document (`?w=`)."""

    process: str | None = None
    read: Read | None = None
    clone: Clone | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """A closed execution unit. `image`: whether a tool was made of one; `source`: see there."""

    bundle: Bundle
    image: bool = False
    source: Mapping[str, Any] = field(default_factory=dict)


def unit(value: Any, described: Mapping[str, Any], reach: Reach) -> Unit:
    """Close what `executionUnit` holds. Raises PackageError (and its kinds), LimitError."""
    if isinstance(value, list):
        return _many(value, described, reach)
    if isinstance(value, str):
        return Unit(build(value, process=reach.process, read=reach.read))
    if not isinstance(value, Mapping):
        raise PackageError("executionUnit is not an object.", hint="Write a link with href, or a CWL document.")
    if "unit" in value:
        return unit(value["unit"], described, reach)
    if "repository" in value:
        return _cloned(value, reach)
    if "href" in value:
        return _linked(value["href"], reach)
    if "value" in value:
        return Unit(_valued(value, reach))
    if any(key in value for key in WHOLE):
        return Unit(build(_text(value), process=reach.process, read=reach.read))
    if "image" in value or value.get("type") in ("docker", "oci"):
        return Unit(build(_text(tool(value, described))), image=True)
    kind = value.get("type") or value.get("mediaType")
    raise UnsupportedPackage(
        f"An executionUnit of the type {kind!r} is not supported." if kind else "The executionUnit names no CWL.",
        hint='Write {"href": "https://…", "type": "application/cwl"}, or {"value": {…}, "mediaType": …}.',
    )


def _text(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def _many(values: Sequence[Any], described: Mapping[str, Any], reach: Reach) -> Unit:
    """Several units are one package, as if their processes stood in one `$graph`: steps run them by `#id`."""
    if len(values) == 1:
        return unit(values[0], described, reach)
    if not 0 < len(values) <= MAX_UNITS:
        raise UnsupportedPackage(f"An application package of {len(values)} execution units is not supported.")
    whole: dict[str, Any] = {"cwlVersion": None, "$namespaces": {}, "$graph": []}
    for number, value in enumerate(values, 1):
        document = parse(_alone(value, described, reach), f"unit {number}")
        found = processes(document)
        if not found:
            raise PackageError(f"The execution unit {number} is no CWL document.")
        version = str(document.get("cwlVersion"))
        if whole["cwlVersion"] not in (None, version):
            raise PackageError(f"The execution units have different versions of CWL: {whole['cwlVersion']}, {version}.")
        whole["cwlVersion"] = version
        spaces = document.get("$namespaces")
        whole["$namespaces"].update(spaces if isinstance(spaces, Mapping) else {})
        whole["$graph"] += [_member(process) for process in found]
    names = [one["id"] for one in whole["$graph"]]
    if twice := {name for name in names if names.count(name) > 1}:
        raise PackageError(f"Several processes of the execution units have the id {min(twice)!r}.")
    wanted = reach.process or _of_id(described, whole["$graph"])
    return Unit(build(_text(whole), process=wanted, read=reach.read))


def _alone(value: Any, described: Mapping[str, Any], reach: Reach) -> str:
    """The document of one unit among several, not closed: the others are part of it."""
    if isinstance(value, Mapping) and "unit" in value:
        return _alone(value["unit"], described, reach)
    if isinstance(value, Mapping) and "href" in value:
        return decode(_read(value["href"], reach)[1], "the link")
    if isinstance(value, Mapping) and "value" in value:
        content = value["value"]
        _check_media(value)
        return content if isinstance(content, str) else _text(content)
    if isinstance(value, Mapping) and ("image" in value or value.get("type") in ("docker", "oci")):
        return _text({"id": fragment(described.get("id")) or "tool", **tool(value, described)})
    if isinstance(value, Mapping) and "repository" in value:
        raise UnsupportedPackage("A package in git is the only execution unit of its package.")
    return value if isinstance(value, str) else _text(value)


def _member(process: Mapping[str, Any]) -> dict[str, Any]:
    """A process as a member of a graph: with an id, and without what the document says."""
    name = fragment(process.get("id"))
    if not name:
        raise PackageError("A process of several execution units has no id.", hint="Write an id for each.")
    return {key: value for key, value in process.items() if key not in ("cwlVersion", "$namespaces", "$schemas")} | {
        "id": name
    }


def _of_id(described: Mapping[str, Any], graph: Sequence[Mapping[str, Any]]) -> str | None:
    return next((one["id"] for one in graph if one["id"] == described.get("id")), None)


def _valued(value: Mapping[str, Any], reach: Reach) -> Bundle:
    content = value["value"]
    if _check_media(value) == BUNDLE_TYPE:
        return held(content, reach.process)
    return build(content if isinstance(content, str) else _text(content), process=reach.process, read=reach.read)


def _check_media(value: Mapping[str, Any]) -> str:
    """The media type that a unit by value says it has. Raises UnsupportedMediaType."""
    media = str(value.get("mediaType") or "").split(";")[0].strip().lower()
    if media in ("", "application/json", BUNDLE_TYPE, OPENEO_TYPE, *CWL_TYPES, *YAML_TYPES):
        return media
    raise UnsupportedMediaType(f"An executionUnit of the media type {media} cannot be deployed.",
                               hint="Use application/cwl+json.")  # fmt: skip


def held(value: Any, process: str | None) -> Bundle:
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


def _read(href: Any, reach: Reach) -> tuple[str, bytes, str]:
    """Address, content and fragment of a link."""
    if not isinstance(href, str) or not href.lower().startswith(("https://", "http://")):
        raise PackageError(f"The link {str(href)[:200]!r} cannot be read.", hint="Use an https link.")
    read = reach.read
    if read is None:
        raise PackageError("Packages by link are not read here.", hint="Send the document itself.")
    url, chosen = urldefrag(href)
    return url, _fetched(url, lambda: read(url)), chosen


def _linked(href: Any, reach: Reach) -> Unit:
    url, data, chosen = _read(href, reach)
    bundle = build(data, name=named(url), process=reach.process or chosen or None, read=reach.read, base=url)
    return Unit(bundle, source={"href": url.partition("?")[0]})  # a query may be a signature


def _cloned(value: Mapping[str, Any], reach: Reach) -> Unit:
    place, clone = Place.of(value), reach.clone
    if clone is None:
        raise PackageError("Packages in git are not read here.", hint="Send the document itself.")
    path, _, chosen = place.path.partition("#")
    tree = Tree(received(_fetched(place.repository, lambda: clone(place))), place.commit)

    def read(key: str) -> bytes:
        if not is_url(key):
            return tree(key)
        if reach.read is None:
            raise FileNotFoundError(2, "links are not read here", key)
        return reach.read(key)

    data = _fetched(path, lambda: tree(path))
    bundle = build(data, name=path, process=reach.process or chosen or None, read=read, listing=tree.listing, trim=True)
    known = {**place.to_json(), "path": path, "committed": tree.committed, **credits.of_repository(tree)}
    return Unit(bundle, source={key: one for key, one in known.items() if one is not None})


def _fetched(name: str, fetch: Callable[[], bytes]) -> bytes:
    """What a fetch gives; its errors are errors of the package."""
    try:
        return fetch()
    except PackageError:
        raise
    except (BrokerError, OSError) as error:
        detail = error.detail if isinstance(error, BrokerError) else f"{error.strerror}."
        raise PackageError(f"{name} cannot be read: {detail}", hint=getattr(error, "hint", None)) from error
