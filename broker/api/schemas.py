"""Schemas of the documents, for the API definition: those of OGC API - Processes 1.0, with what is ours beside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEXT = {"type": "string"}
_URI = {"type": "string", "format": "uri"}
_TIME = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}
_OBJECT = {"type": "object"}
_LINKS = {"type": "array", "items": {"$ref": "#/components/schemas/link"}}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"type": "object", "properties": properties}
    return made | {"required": required} if required else made


def _list_of(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


_STATUS = {"type": "string", "enum": ["accepted", "running", "successful", "failed", "dismissed"]}
_FAULT = {"type": "string", "enum": ["package", "input", "platform", "staging", "limit", "broker"]}
_SHARED = {"type": "string", "enum": ["private", "project", "public"]}
_PART = {"type": "string", "enum": ["viewer", "member", "maintainer"]}
_SUMMARY = {
    "shared": _SHARED,
    "sharedWith": _TEXT,
    "id": _TEXT,
    "title": _TEXT,
    "description": _TEXT,
    "version": _TEXT,
    "mutable": {"type": "boolean"},
    "keywords": {"type": "array", "items": _TEXT},
    "jobControlOptions": {
        "type": "array",
        "items": {"type": "string", "enum": ["sync-execute", "async-execute", "dismiss"]},
    },
    "outputTransmission": {"type": "array", "items": {"type": "string", "enum": ["value", "reference"]}},
    "links": _LINKS,
}
SCHEMAS: Mapping[str, Any] = {
    "link": _object(["href"], href=_TEXT, rel=_TEXT, type=_TEXT, hreflang=_TEXT, title=_TEXT),
    "landingPage": _object(["links"], title=_TEXT, description=_TEXT, links=_LINKS),
    "confClasses": _object(["conformsTo"], conformsTo={"type": "array", "items": _TEXT}),
    "exception": _object(
        ["type"],
        type=_TEXT,
        title=_TEXT,
        status={"type": "integer"},
        detail=_TEXT,
        fault=_FAULT,
        reason=_TEXT,
        hint=_TEXT,
        errors={"type": "array", "items": _object(["pointer", "detail"], pointer=_TEXT, detail=_TEXT)},
        place=_object([], file=_TEXT, line=_COUNT, column=_COUNT),
    ),
    "processSummary": _object(["id", "version"], **_SUMMARY),
    "processList": _object(["processes", "links"], processes=_list_of("processSummary"), links=_LINKS),
    "process": _object(["id", "version"], **_SUMMARY, revision=_COUNT, digest=_TEXT, inputs=_OBJECT, outputs=_OBJECT),
    "execute": _object(
        [],
        inputs={"type": "object", "additionalProperties": {}},
        outputs={
            "type": "object",
            "additionalProperties": _object(
                [], format=_OBJECT, transmissionMode={"type": "string", "enum": ["value", "reference"]}
            ),
        },
        response={"type": "string", "enum": ["raw", "document"], "default": "raw"},
        title=_TEXT,
        tags={"type": "array", "items": _TEXT},
        shared={"type": "string", "enum": ["private", "project"], "default": "private"},
        platform=_TEXT,
        subscriber=_object([], successUri=_URI, inProgressUri=_URI, failedUri=_URI, successUrl=_URI),
        reuse={"type": "boolean"},
        publish={"type": "object"},
    ),
    "reproduction": _object(
        ["experiment"],
        experiment=_TEXT,
        files={"type": "object", "additionalProperties": _TEXT},
        tolerance=_object(
            [], **{name: {"type": "number"} for name in ("relative", "absolute", "coordinates", "share")}
        ),
        check={"type": "boolean"},
        inputs=_OBJECT,
        platform=_TEXT,
        title=_TEXT,
        tags={"type": "array", "items": _TEXT},
    ),
    "statusInfo": _object(
        ["jobID", "status", "type"],
        jobID=_TEXT,
        processID=_TEXT,
        type={"type": "string", "enum": ["process"]},
        status=_STATUS,
        message=_TEXT,
        created=_TIME,
        started=_TIME,
        finished=_TIME,
        updated=_TIME,
        progress={"type": "integer", "minimum": 0, "maximum": 100},
        links=_LINKS,
        title=_TEXT,
        tags={"type": "array", "items": _TEXT},
        project=_TEXT,
        shared=_SHARED,
        sharedWith=_TEXT,
        platform=_TEXT,
        phase=_TEXT,
        attempt=_COUNT,
        revision=_COUNT,
        reusedFrom=_TEXT,
        reproduces=_TEXT,
        steps=_object([], done=_COUNT, total={**_COUNT, "nullable": True}),
        queue=_object([], position=_COUNT, waitingFor=_TEXT),
        failure=_object([], fault=_FAULT, reason=_TEXT, message=_TEXT, logTail=_TEXT),
    ),
    "jobList": _object(["jobs", "links"], jobs=_list_of("statusInfo"), links=_LINKS),
    "results": {"type": "object", "additionalProperties": {}},
    "upload": _object(
        ["id", "href"],
        id=_TEXT,
        href=_TEXT,
        name=_TEXT,
        type=_TEXT,
        size={**_COUNT, "nullable": True},
        received=_COUNT,
        complete={"type": "boolean"},
        sha256={"type": "string", "nullable": True},
        created=_TIME,
        expires=_TIME,
        shared=_SHARED,
        sharedWith=_TEXT,
        links=_LINKS,
    ),
    "sharing": _object(["shared"], shared=_SHARED, project={"type": "string", "nullable": True}, links=_LINKS),
    "project": _object(["id", "title"], id=_TEXT, title=_TEXT, created=_TIME, part=_PART, links=_LINKS),
    "projectList": _object(["projects", "links"], projects=_list_of("project"), links=_LINKS),
    "member": _object(["person", "part"], person=_TEXT, name=_TEXT, part=_PART, since=_TIME),
    "memberList": _object(["members"], members=_list_of("member"), links=_LINKS),
    "invitation": _object(
        ["id", "part"],
        id=_TEXT,
        project=_TEXT,
        title=_TEXT,
        part=_PART,
        note=_TEXT,
        invitedBy=_TEXT,
        created=_TIME,
        expires=_TIME,
        code=_TEXT,
        href=_TEXT,
    ),
    "invitationList": _object(["invitations"], invitations=_list_of("invitation"), links=_LINKS),
}
