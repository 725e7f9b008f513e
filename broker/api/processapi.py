"""One process as an OpenAPI document of its own: what its execution takes and gives, input by input."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from broker.api import aboutpages, openapi
from broker.api.answers import Json
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.dialects import as_3_1, plain
from broker.api.paging import Representation
from broker.api.processes import Revision, described_by
from broker.api.site import site_of
from broker.store.processes import Process

router = guarded("Processes")
PROCESS_API = ConformanceClass(router)
EXECUTION = "/processes/{process_id}/execution"
_QUALIFIED: Mapping[str, Any] = {"mediaType": {"type": "string"}, "encoding": {"type": "string"}}


@router.get("/processes/{process_id}/api", name="processApi")
async def process_api(
    request: Request, process_id: str, caller: Caller, revision: Revision = None, f: Representation = None
) -> Response:
    """The execution of this process as an OpenAPI document, with the schemas of its inputs and outputs."""
    chosen = openapi.wanted(request)
    site = site_of(request)
    process = await site.rows.read(described_by, caller.reach, process_id, revision, None)
    document = definition(request.app, site.base(request), process)
    if chosen == "html":
        return await aboutpages.reference(request, document, f"API of {document['info']['title']}")
    return Json(as_3_1(document) if chosen == "openapi31" else document, media_type=openapi.OFFERS[chosen])


def definition(app: FastAPI, base: str, process: Process) -> dict[str, Any]:
    """The operation `execute` of the whole document, with this process's own request and results."""
    whole = openapi.definition(app, base)
    described = process.description
    execution = dict(whole["paths"][EXECUTION]["post"])
    execution["parameters"] = [one for one in execution["parameters"] if one["name"] != "process_id"]
    execution["summary"] = described.get("title") or process.id
    execution["description"] = described.get("description", "")
    request = {"application/json": {"schema": {"$ref": "#/components/schemas/request"}}}
    execution["requestBody"] = {"content": request, "required": True}
    schemas = whole["components"]["schemas"] | {
        "request": _request(whole["components"]["schemas"]["execute"], described),
        "results": _results(described.get("outputs", {})),
    }
    return {
        **whole,
        "info": {"title": described.get("title") or process.id, "version": process.version},
        "paths": {f"/processes/{quote(process.id, safe='')}/execution": {"post": execution}},
        "components": whole["components"] | {"schemas": schemas},
    }


def _request(execute: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    inputs, outputs = described.get("inputs", {}), described.get("outputs", {})
    required = [name for name, one in inputs.items() if one.get("minOccurs", 1) > 0]
    members = {name: _input(one) for name, one in inputs.items()}
    given: dict[str, Any] = {"type": "object", "properties": members, "additionalProperties": False}
    each = execute["properties"]["outputs"]["additionalProperties"]
    wanted = {"type": "object", "properties": dict.fromkeys(outputs, each), "additionalProperties": False}
    full = {**execute, "properties": execute["properties"] | {"inputs": given, "outputs": wanted}}
    if required:
        given["required"] = required
        full["required"] = ["inputs"]
    return full


def _input(one: Mapping[str, Any]) -> dict[str, Any]:
    """A value, a qualified value, or a link; many of them where the input may be repeated."""
    schema = plain(one.get("schema", {}))
    qualified = {"type": "object", "required": ["value"], "properties": {"value": schema, **_QUALIFIED}}
    value = {"anyOf": [schema, qualified, {"$ref": "#/components/schemas/link"}]}
    if one.get("maxOccurs", 1) != 1:
        value = {"anyOf": [value, {"type": "array", "items": value}]}
    return value | {key: one[key] for key in ("title", "description") if key in one}


def _results(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """results.yaml: by value, qualified, or as a link."""
    return {"type": "object", "properties": {name: _input(one) for name, one in outputs.items()}}
