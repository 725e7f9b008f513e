"""Processes at the server: as they are described there now, and deployed there of a CWL package (Part 2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from adapters.ogcapi.server import Server
from broker.errors import PlatformRefused, PlatformUnavailable
from broker.jobs.model import JobSpec
from broker.packages import ogcapi as package
from broker.packages.media import BUNDLE_TYPE


def described(server: Server, address: str) -> dict[str, Any] | None:
    """The process as it is described there now, None where there is none. Raises as `Server.get`."""
    reply = server.get(address)
    if reply is None:
        return None
    found = reply.json()
    if not isinstance(found, Mapping):
        raise PlatformUnavailable(f"{address} does not answer with the description of a process.")
    return package.normal(found)


def unchanged(server: Server, spec: JobSpec, address: str) -> dict[str, Any]:
    """The process as it is described now. Raises PlatformRefused where it is not what was registered here."""
    found = described(server, address)
    if found is None:
        raise PlatformRefused(
            f"The process {address} is no longer there.", hint="Undeploy it here, or ask the server's operator."
        )
    before = package.description(spec.bundle["documents"], address)
    changed = [
        f"{side[:-1]} {name}"
        for side in ("inputs", "outputs")
        for old, new in [(package.interface(before, side), package.interface(found, side))]
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]
    if changed:
        raise PlatformRefused(
            f"The process {address} has changed since it was registered here: {', '.join(changed[:10])}.",
            hint=f"Register it again: broker deploy {address} --id {spec.process.partition('@')[0]} --replace",
        )
    return found


def address(server: Server, spec: JobSpec) -> str:
    """Where a CWL package is when it is deployed there: its name says its content."""
    return f"{server.url}/processes/eb-{str(spec.bundle['digest'])[:24]}"


def deploy(server: Server, spec: JobSpec, address: str) -> str:
    """Deploy the package under a name that says its content; its address. Raises as `Server.ask`."""
    bundle, (entry, _, chosen) = spec.bundle, str(spec.bundle["entry"]).partition("#")
    alone = len(bundle["documents"]) == 1 and not bundle["files"]
    unit = _unit(bundle["documents"][entry]) if alone else {"value": dict(bundle), "mediaType": BUNDLE_TYPE}
    body = {"processDescription": {"process": {"id": address.rpartition("/")[2]}}, "executionUnit": unit}
    where = f"{server.url}/processes" + (f"?w={quote(chosen)}" if chosen and alone else "")
    reply = server.ask("POST", where, body, headers={"Content-Type": "application/ogcapppkg+json"})
    if reply.status == 409:  # another worker was quicker
        return address
    if reply.status >= 300:
        raise PlatformRefused(f"The package was not taken: {server.said(reply)}")
    location = reply.headers.get("Location", "").partition("?")[0]
    return f"{server.url}/processes/{location.rpartition('/')[2]}" if "/processes/" in location else address


def _unit(text: str) -> dict[str, Any]:
    """One document: as JSON if it is some, else as the text that it is, which no YAML parser sees here. (A package of
    several documents goes as the bundle that it is, which brokers of our kind take.)"""
    try:
        return {"value": json.loads(text), "mediaType": "application/cwl+json"}
    except (ValueError, RecursionError):
        return {"value": text, "mediaType": "application/cwl+yaml"}
