"""The API as an OpenAPI document: what FastAPI finds in the routes, with bodies and answers that it cannot see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request

from broker.api.answers import JSON, representation
from broker.api.dialects import as_3_0, as_3_1
from broker.api.schemas import SCHEMAS
from broker.web import HTML

MEDIA_TYPE = "application/vnd.oai.openapi+json;version=3.0"
MEDIA_TYPE_3_1 = "application/vnd.oai.openapi+json;version=3.1"
OFFERS = {"openapi": MEDIA_TYPE, "openapi31": MEDIA_TYPE_3_1, "json": JSON, "html": HTML}
_ANY: Mapping[str, Any] = {}
_BINARY: Mapping[str, Any] = {"type": "string", "format": "binary"}
_PACKAGES = ("application/cwl", "application/cwl+json", "application/cwl+yaml", "application/vnd.openeo+json",
             "application/ogcapppkg+json", JSON)  # fmt: skip


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _contents(schema: Mapping[str, Any], *media_types: str) -> dict[str, Any]:
    return {media_type: {"schema": schema} for media_type in media_types or (JSON,)}


def _inline(*texts: str, **others: Any) -> dict[str, Any]:
    """An object of texts, and others."""
    return {"type": "object", "properties": {**{name: {"type": "string"} for name in texts}, **others}}


_SHAREABLE = ("process", "job", "upload")
_RESULTS = {
    JSON: {"schema": _ref("results")},
    "multipart/related": {"schema": _BINARY},
    "application/vnd.commonwl.output+json": {"schema": {"type": "object"}},
    "*/*": {"schema": _ANY},
}
_LOGS = {
    JSON: {"schema": {"type": "object"}},
    "text/plain": {"schema": {"type": "string"}},
    "text/event-stream": {"schema": {"type": "string"}},
}
_PROVENANCE = {
    **_contents({"type": "object"}, JSON, "application/ld+json", "application/vnd.earthcode-broker.provenance+json"),
    **_contents({"type": "string"}, "text/provenance-notation", "application/provenance+xml", "application/xml"),
    **_contents({"type": "string"}, "text/turtle", "application/n-triples", "image/svg+xml"),
}
# operation -> {status: contents}; an operation that is not here answers 200 with a JSON object
ANSWERS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "landing": {"200": _contents(_ref("landingPage"))},
    "conformance": {"200": _contents(_ref("confClasses"))},
    "api": {"200": _contents({"type": "object"}, MEDIA_TYPE, MEDIA_TYPE_3_1, JSON)},
    "processApi": {"200": _contents({"type": "object"}, MEDIA_TYPE, MEDIA_TYPE_3_1, JSON)},
    "processes": {"200": _contents(_ref("processList"))},
    "process": {"200": _contents(_ref("process"))},
    "package": {"200": _contents({"type": "object"}, *_PACKAGES)},
    "deploy": {"201": _contents(_ref("processSummary"))},
    "replace": {"200": _contents(_ref("processSummary")), "204": {}},
    "undeploy": {"204": {}},
    "notice": {"204": {}},
    "execute": {"200": _RESULTS, "201": _contents(_ref("statusInfo")), "204": {}},
    "jobs": {"200": _contents(_ref("jobList"))},
    "job": {"200": _contents(_ref("statusInfo"))},
    "dismiss": {"200": _contents(_ref("statusInfo"))},
    "results": {"200": _RESULTS, "204": {}},
    "result": {"200": {"*/*": {"schema": _ANY}}, "204": {}},
    "jobFile": {
        "200": _contents(_BINARY, "*/*"),
        "206": _contents(_BINARY, "*/*"),
        "304": {},
        "307": {},
    },
    "logs": {"200": _LOGS},
    "provenance": {"200": _PROVENANCE},
    "crate": {"200": _contents(_BINARY, "application/zip")},
    "compare": {"201": _contents({"type": "object"})},
    **{name: {"201": _contents({"type": "object"})} for name in ("jobPublish", "publish", "publicationPromote")},
    **{name: {"200": _contents(_BINARY, "application/zip")} for name in ("jobPublicationBundle", "publicationBundle")},
    "publicationDiff": {"200": _contents({"type": "string"}, "text/plain")},
    "upload": {"201": _contents(_ref("upload"))},
    "uploadAppend": {"200": _contents(_ref("upload"))},
    "uploadStatus": {"200": _contents(_ref("upload"))},
    "uploadDelete": {"204": {}},
    "projects": {"200": _contents(_ref("projectList"))},
    "projectCreate": {"201": _contents(_ref("project"))},
    "project": {"200": _contents(_ref("project"))},
    "projectRename": {"200": _contents(_ref("project"))},
    "projectDelete": {"204": {}},
    "projectMembers": {"200": _contents(_ref("memberList"))},
    "projectMember": {"200": _contents(_ref("member"))},
    "projectPart": {"200": _contents(_ref("member"))},
    "projectLeave": {"204": {}},
    "projectInvitations": {"200": _contents(_ref("invitationList"))},
    "projectInvite": {"201": _contents(_ref("invitation"))},
    "projectRevoke": {"204": {}},
    "invitation": {"200": _contents(_ref("invitation"))},
    "invitationAccept": {"200": _contents(_ref("project"))},
    **{f"{kind}{verb}": {"200": _contents(_ref("sharing"))} for kind in _SHAREABLE for verb in ("Share", "Sharing")},
    "reproduce": {"200": _contents({"type": "object"}), "201": _contents(_ref("statusInfo"))},
    "reproduceJob": {"201": _contents(_ref("statusInfo"))},
    "platformAdd": {"200": _contents({"type": "object"}), "201": _contents({"type": "object"})},
    "platformRemove": {"204": {}},
    "usage": {"200": {**_contents({"type": "object"}), **_contents({"type": "string"}, "text/csv")}},
    "budgetUnset": {"204": {}},
    "makeToken": {"201": _contents({"type": "object"})},
    "revokeToken": {"204": {}},
    "keepCredential": {"200": _contents({"type": "object"}), "201": _contents({"type": "object"})},
    "removeCredential": {"204": {}},
}
BODIES: Mapping[str, Mapping[str, Any]] = {
    "deploy": _contents(_BINARY, *_PACKAGES),
    "replace": _contents(_BINARY, *_PACKAGES),
    "checkPackage": _contents(_BINARY, *_PACKAGES),
    "execute": _contents(_ref("execute")),
    "checkExecution": _contents(_ref("execute")),
    "estimate": _contents(_ref("execute")),
    "platformAdd": _contents(_inline("name", "adapter", options={"type": "object"})),
    "budgetSet": _contents(_inline("sponsorship", "currency", credits={"type": "number"})),
    "platformPause": _contents(_inline(paused={"type": "boolean"})),
    "upload": _contents(_BINARY, "*/*"),
    "uploadAppend": _contents(_BINARY, "*/*"),
    "projectCreate": _contents(_inline("id", "title")),
    "projectRename": _contents(_inline("title")),
    "projectPart": _contents(_inline("part")),
    "setProjectPublishing": _contents({"type": "object"}),
    "projectInvite": _contents(_inline("part", "note", days={"type": "number"})),
    **{f"{kind}Share": _contents(_inline("shared", "project")) for kind in _SHAREABLE},
    "compare": _contents({"type": "object"}),
    **dict.fromkeys(("jobPublish", "publish", "jobPublicationBundle"), _contents({"type": "object"})),
    "publicationReject": _contents(_inline("reason")),
    "reproduce": _contents(_ref("reproduction")),
    "reproduceJob": _contents(_ref("reproduction")),
    "makeToken": _contents({"type": "object"}),
    "keepCredential": _contents({"type": "object"}),
    "testCredential": _contents({"type": "object"}),
}
_HEADER = {"in": "header", "required": False}
_LENGTH = {"schema": {"type": "integer", "minimum": 0}, **_HEADER}
_KEY: Mapping[str, Any] = {
    "name": "Idempotency-Key",
    "description": "The same key again gives the same job.",
    "schema": {"type": "string", "maxLength": 255},
    **_HEADER,
}
HEADERS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "execute": (
        {"name": "Prefer", "description": "respond-async, wait=seconds", "schema": {"type": "string"}, **_HEADER},
        _KEY,
    ),
    "reproduce": (_KEY,),
    "reproduceJob": (_KEY,),
    "upload": ({"name": "Upload-Length", "description": "Begin a resumable upload of so many bytes.", **_LENGTH},),
    "uploadAppend": ({"name": "Upload-Offset", "description": "Where these bytes belong.", **_LENGTH},),
    "jobFile": ({"name": "Range", "description": "One range of bytes.", "schema": {"type": "string"}, **_HEADER},),
}
_SIGNED = tuple(
    {"name": name, "in": "header", "required": True, "description": said, "schema": {"type": "string"}}
    for name, said in (
        ("webhook-id", "The same at every try of one delivery."),
        ("webhook-timestamp", "Epoch seconds of the try."),
        ("webhook-signature", "v1, and HMAC-SHA256 over id.timestamp.body in base64; after a change of secret two."),
        ("Link", "The job, rel=monitor."),
    )
)


def _told(uri: str, schema: str) -> dict[str, Any]:
    """A callback: what is sent to this address of the subscriber (Part 1, callbacks.yaml)."""
    taken = {"2XX": {"description": "Taken; any other answer, and none, are tried again"}}
    body = {"content": _contents(_ref(schema)), "required": True}
    return {
        f"{{$request.body#/subscriber/{uri}}}": {
            "post": {"parameters": list(_SIGNED), "requestBody": body, "responses": taken}
        }
    }


CALLBACKS: Mapping[str, Mapping[str, Any]] = {
    "execute": {
        "jobCompleted": _told("successUri", "results"),
        "jobInProgress": _told("inProgressUri", "statusInfo"),
        "jobFailed": _told("failedUri", "statusInfo"),
    }
}
_STATUS = {
    "200": "Done",
    "201": "Made; see Location",
    "204": "Done; nothing to show",
    "206": "A part",
    "304": "Not changed",
    "307": "The bytes are at Location",
}
# What can be asked for by `?f=` has a page, but these (that this is true is tested).
WITHOUT_PAGE = frozenset({
    "projectMembers", "projectMember", "projectInvitations", "targets", "vocabulary", "me",
})  # fmt: skip
_PAGE = {HTML: {"schema": {"type": "string"}}}
_PROBLEM = {
    "description": "A problem",
    "content": {**_contents(_ref("exception"), "application/problem+json", JSON), **_PAGE},
}
_NO_RESULTS = ("410", "422", "424", "502")
# operation -> what can go wrong besides what its parameters, its body and its need of a token bring
ERRORS: Mapping[str, tuple[str, ...]] = {
    "execute": _NO_RESULTS,
    "results": _NO_RESULTS,
    "result": _NO_RESULTS,
    "jobFiles": ("410",),
    "jobFile": ("410", "416"),
    "dismiss": ("409",),
    "undeploy": ("409",),
    "resultsDelete": ("409", "410"),
    "uploadDelete": ("409",),
}


def wanted(request: Request) -> str:
    """Which of OFFERS a client asks for; 3.1 where Accept names that version."""
    chosen = representation(request, OFFERS)
    named = "version=3.1" in request.headers.get("accept", "").replace(" ", "")
    return "openapi31" if chosen == "openapi" and named and "f" not in request.query_params else chosen


def definition(app: FastAPI, base: str, offer: str = "openapi") -> dict[str, Any]:
    """The document, made once per version; only its server differs with the address that a client used."""
    if app.openapi_schema is None:
        app.openapi_schema = _made(app)
        app.state.openapi_3_1 = as_3_1(app.openapi_schema)
    document = app.state.openapi_3_1 if offer == "openapi31" else app.openapi_schema
    return {**document, "servers": [{"url": base}]}


def _made(app: FastAPI) -> dict[str, Any]:
    full = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, openapi_version="3.0.3"
    )
    for operations in full["paths"].values():
        for operation in operations.values():
            _complete(operation)
    full["components"]["schemas"] = dict(SCHEMAS)
    full["components"]["responses"] = {"problem": _PROBLEM}
    whole = as_3_0(full)
    return dict(whole)


def _complete(operation: dict[str, Any]) -> None:
    name = operation["operationId"]
    operation["summary"] = operation.get("description", name).partition("\n")[0]
    answers = ANSWERS.get(name, {"200": _contents({"type": "object"})})
    if name not in WITHOUT_PAGE and any(one["name"] == "f" for one in operation.get("parameters", ())):
        answers = {**answers, "200": {**answers["200"], **_PAGE}}
    operation["responses"] = (
        {
            status: {"description": _STATUS[status]} | ({"content": contents} if contents else {})
            for status, contents in answers.items()
        }
        | {status: {"$ref": "#/components/responses/problem"} for status in _errors(operation)}
        | {"default": _PROBLEM}
    )
    if name in BODIES:
        operation["requestBody"] = {"content": BODIES[name], "required": name not in ("upload", "execute")}
    if name in CALLBACKS:
        operation["callbacks"] = dict(CALLBACKS[name])
    if name in HEADERS:
        operation["parameters"] = [*operation.get("parameters", ()), *HEADERS[name]]


def _errors(operation: Mapping[str, Any]) -> list[str]:
    """The statuses with which this operation can fail; `default` is beside them for what a proxy on the way says."""
    name = operation["operationId"]
    found = {"404", "500", "503", *ERRORS.get(name, ())}  # (404: a NUL in the query is enough)
    if operation.get("parameters") or name in BODIES:
        found.add("400")
    if operation.get("security"):
        found |= {"401", "403", "429"}
    if name in BODIES:
        found |= {"408", "409", "413", "415", "422", "507"}
    return sorted(found)
