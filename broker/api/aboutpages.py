"""Pages about the broker itself: where to begin, the standards, the reference of the API, and the platforms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal
from broker.api.authentication import authenticated
from broker.api.site import site_of
from broker.errors import BrokerError
from broker.jobs import lifecycle
from broker.jobs.model import Job
from broker.store import jobs, processes
from broker.web import page

MOST_PROCESSES, MOST_JOBS = 6, 5
METHODS = ("get", "post", "put", "patch", "delete")
# conformance class -> what it means for who uses this broker
MEANINGS: Mapping[str, str] = {
    "core": "lists and describes processes, runs them, gives their results",
    "ogc-process-description": "describes inputs and outputs by JSON schemas",
    "json": "answers in JSON",
    "html": "answers in HTML, as on this page",
    "oas30": "describes itself as OpenAPI 3.0",
    "oas31": "describes itself as OpenAPI 3.1",
    "job-list": "lists jobs",
    "callback": "calls back when a job begins and ends",
    "dismiss": "stops jobs",
    "deploy-replace-undeploy": "takes packages, replaces them and takes them away",
    "ogcapppkg": "packages in the form of OGC",
    "cwl": "packages in CWL",
    "docker": "packages that are a container image",
}


async def landing(request: Request) -> Response:
    """Where to begin; for who is known, with some processes and the latest jobs."""
    site = site_of(request)
    caller = await known(request)
    shown: Sequence[processes.Process] = ()
    latest: Sequence[Job] = ()
    if caller is not None:
        shown = await site.rows.read(processes.page, limit=MOST_PROCESSES, reach=caller.reach)
        latest = await site.rows.read(jobs.page, jobs.Filter(owner=caller.owner), limit=MOST_JOBS)
    return page(
        request,
        "landing.html",
        title=site.settings.api.title,
        description=site.settings.api.description,
        processes=shown,
        jobs=[(job, lifecycle.status(job.phase, job.dismiss_requested)) for job in latest],
    )


async def known(request: Request) -> Principal | None:
    """Who asks; None where they have not logged in, or may not read. These pages are for everybody."""
    try:
        return await authenticated(request)
    except BrokerError:
        return None


async def conformance(request: Request, uris: Sequence[str]) -> Response:
    """The conformance classes in words."""
    await known(request)
    found = []
    for uri in uris:
        standard, _, name = uri.partition("/conf/")
        part = standard.rpartition("/spec/")[2].partition("/")[0].rpartition("-")[2]
        found.append((uri, part, name, MEANINGS.get(name, "")))
    return page(request, "conformance.html", title="Standards", classes=found)


async def reference(request: Request, definition: Mapping[str, Any], title: str = "API reference") -> Response:
    """The reference of the API (or of a part of it), made of its OpenAPI document."""
    await known(request)
    tags: dict[str, list[dict[str, Any]]] = {}
    for one in _operations(definition):
        tags.setdefault(one["tag"], []).append(one)
    return page(
        request,
        "api.html",
        title=title,
        version=definition["info"]["version"],
        openapi=definition["openapi"],
        tags=tags,
        schemas=definition.get("components", {}).get("schemas", {}),
    )


def _operations(definition: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path, methods in definition["paths"].items():
        for method in METHODS:
            if method in methods:
                one = methods[method]
                yield {
                    "method": method.upper(),
                    "path": path,
                    "id": one["operationId"],
                    "tag": (one.get("tags") or ["Others"])[0],
                    "summary": one.get("summary") or one["operationId"],
                    "description": one.get("description") or "",
                    "open": "security" not in one,
                    "parameters": [_parameter(given) for given in one.get("parameters", ())],
                    "body": _contents(one.get("requestBody", {})),
                    "answers": [
                        (status, answer.get("description", ""), _contents(answer))
                        for status, answer in one.get("responses", {}).items()
                        if "$ref" not in answer  # what can go wrong is said once, as `default`
                    ],
                }


def _parameter(given: Mapping[str, Any]) -> dict[str, Any]:
    schema = given.get("schema") or {}
    return {
        "name": given.get("name", ""),
        "place": given.get("in", ""),
        "must": bool(given.get("required")),
        "words": given.get("description") or schema.get("description") or "",
        "type": schema.get("type", ""),
    }


def _contents(holder: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(media type, the name of its schema or nothing) of a body or an answer."""
    return [
        (media_type, str(content.get("schema", {}).get("$ref", "")).rpartition("/")[2])
        for media_type, content in holder.get("content", {}).items()
    ]


def platforms_of(request: Request, process: processes.Process, fits: Sequence[Mapping[str, Any]]) -> Response:
    """Where a process can run, and where not."""
    title = f"Where {process.id} can run"
    return page(request, "processplatforms.html", title=title, process=process, platforms=fits)
