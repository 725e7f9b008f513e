"""What a job's record of provenance says of work that another server did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin

from adapters.ogcapi.server import JSON, Server
from broker.errors import PlatformError
from broker.jobs.secrets import unsigned_link

LARGEST = 256 * 1024  # bytes of the server's own provenance that are taken over; of a larger one only the link
_RELATIONS = frozenset({"has_provenance", "prov", "provenance"})
_KEPT = ("processID", "status", "created", "started", "finished", "updated", "platform", "revision")


def facts(server: Server, handle: Mapping[str, Any], job: str | None, told: Mapping[str, Any]) -> dict[str, Any]:
    """`delegated` of the record: server, process and its version, job, request, what the server says of the job, and
    its own provenance where it has some."""
    found: dict[str, Any] = {
        "kind": "ogcapi",
        "server": server.url,
        "process": handle.get("process"),
        "version": handle.get("version"),
        "job": job,
        "request": handle.get("request"),
        "status": {key: told[key] for key in _KEPT if key in told},
        **_own(server, told),
    }
    return {"delegated": {key: value for key, value in found.items() if value}}


def _own(server: Server, told: Mapping[str, Any]) -> dict[str, Any]:
    """The server's own record (PROV-JSON), or where it is. It is nice to have: no job fails for it."""
    links = told.get("links")
    for one in links if isinstance(links, list) else ():
        relation = str(one.get("rel")).rpartition("#")[2].rpartition("/")[2] if isinstance(one, Mapping) else ""
        if relation not in _RELATIONS or not isinstance(one.get("href"), str):
            continue
        where = urljoin(f"{server.url}/", one["href"])
        link = {"provenanceHref": unsigned_link(where)}
        try:
            reply = server.get(where, f"application/prov+json, {JSON};q=0.9") if server.own(where) else None
        except PlatformError:
            return link
        if reply is None or len(reply.body) > LARGEST or not isinstance(whole := reply.json(), Mapping):
            return link
        return {**link, "provenance": dict(whole)}
    return {}
