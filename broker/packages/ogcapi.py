"""Processes of other OGC API - Processes servers as packages, by reference: the bundle holds the description as it was
when the process was registered, under the process's address.

Inputs and outputs get CWL types, so that whatever works with a package works with such a process. Deviations of servers
that are read here: inputs as a list (drafts of Part 1), texts in several languages (pygeoapi's configuration).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from broker.errors import PackageError
from broker.jobs.model import Needs
from broker.packages.cwl import Inspection
from broker.packages.describe import REFINABLE, SCHEMA
from broker.packages.docker import cwl_type, named, occurring, schema_of

KIND = "ogcapi"
MEDIA = "https://www.iana.org/assignments/media-types/"
_PATH = "/processes/"
_SINGLE = ("oneOf", "anyOf")


def documents(text: str, address: str) -> tuple[str, dict[str, str]] | None:
    """The entry and the documents of a package that is a process at another server, whose description `text` is; None
    for any other text, and for a description that does not come from a process's address."""
    entry = address.partition("?")[0].rstrip("/")
    if _PATH not in entry or not entry.startswith(("https://", "http://")):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None  # whatever it is, it is no process description
    return (entry, {entry: text}) if _is_description(found) else None


def _is_description(value: Any) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get("id"), str):
        return False
    if {"cwlVersion", "$graph", "process_graph"} & {*value}:
        return False
    return "jobControlOptions" in value or {"inputs", "outputs"} <= {*value}


def server_of(address: str) -> str:
    """The server of a process: its address up to `/processes/`."""
    return address.rpartition(_PATH)[0]


def description(documents: Mapping[str, str], entry: str) -> dict[str, Any]:
    """The process as it was described when it was registered; `inputs` and `outputs` are objects by name."""
    return normal(json.loads(documents[entry]))


def normal(found: Mapping[str, Any]) -> dict[str, Any]:
    """A description with its deviations set right."""
    full = {key: _text(value) if key in ("title", "description") else value for key, value in found.items()}
    for side in ("inputs", "outputs"):
        full[side] = {name: dict(one) for name, one in named(found.get(side))}
    return full


def _text(value: Any) -> Any:
    """One of several languages."""
    return next((one for one in value.values() if isinstance(one, str)), "") if isinstance(value, Mapping) else value


def interface(found: Mapping[str, Any], side: str) -> dict[str, Any]:
    """What clients of a process rely on: by name, the schema and how often it may be given."""
    return {
        name: {"schema": schema_of(one), "minOccurs": one.get("minOccurs", 1), "maxOccurs": one.get("maxOccurs", 1)}
        for name, one in named(found.get(side))
    }


def words(documents: Mapping[str, str], entry: str) -> dict[str, Any]:
    """The mirrored description, as `describe` takes a deployer's: its schemas count more than those made of types."""
    found = description(documents, entry)
    kept = ("id", "title", "description", "version", "keywords", "metadata", "inputs", "outputs")
    return {key: found[key] for key in kept if key in found} | {"schemas": True}


def inspection(documents: Mapping[str, str], entry: str) -> Inspection:
    """What the process is, in the terms of a CWL package. Raises PackageError."""
    found = description(documents, entry)
    name = str(found["id"])
    inputs = [_input(key, one) for key, one in found["inputs"].items()]
    outputs = [{"id": key, "type": _type(one), "label": _label(key, one)} for key, one in found["outputs"].items()]
    if not all(one["id"] for one in (*inputs, *outputs)):
        raise PackageError("An input or output of the process has no name.", file=entry)
    described = {
        "class": KIND,
        "id": name,
        "label": str(found.get("title") or name),
        "doc": str(found.get("description") or ""),
        "inputs": inputs,
        "outputs": outputs,
        "hints": [],
        "requirements": [],
    }
    needs = Needs(KIND, 0.0, 0, features=frozenset({server_of(entry)}), reusable=False)
    return Inspection(described, needs=needs, steps=(name,), cwl_version="")


def _label(name: str, one: Mapping[str, Any]) -> str:
    title = _text(one.get("title"))
    return title if isinstance(title, str) and title else name


def _input(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    schema = schema_of(one)
    found: dict[str, Any] = {"id": name, "type": occurring(one, _type(one)), "label": _label(name, one)}
    if isinstance(media := schema.get("contentMediaType"), str):
        found["format"] = MEDIA + media
    if schema.get("default") is not None:
        found["default"] = schema["default"]
    bounds = {key: value for key, value in schema.items() if key in REFINABLE}
    return found | ({SCHEMA: bounds} if bounds else {})


def _type(one: Mapping[str, Any]) -> Any:
    """The CWL type: what a server of our own kind says in `x-cwl`; Any where there are alternatives."""
    schema, hint = schema_of(one), one.get("x-cwl")
    if isinstance(hint, Mapping) and hint.get("type") in ("File", "Directory"):
        return {"type": "array", "items": hint["type"]} if schema.get("type") == "array" else hint["type"]
    if any(isinstance(schema.get(key), list) and len(schema[key]) > 1 for key in (*_SINGLE, "allOf")):
        return "Any"
    if schema.get("type") in ("object", "array") and "contentEncoding" not in schema:
        schema = {key: value for key, value in schema.items() if key != "contentMediaType"}  # JSON, by value
    return cwl_type(schema)
