"""What a job would take at a server that says so: brokers of our kind do (`POST …/estimate`), the standard does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.ogcapi import processes
from adapters.ogcapi.request import Sending, execute_request
from adapters.ogcapi.server import Server
from adapters.ogcapi.settings import OgcApiSettings
from broker.jobs.model import JobSpec
from broker.packages import ogcapi as package
from broker.platform import Estimate

SHOWN = 500  # characters


def estimate(server: Server, settings: OgcApiSettings, spec: JobSpec) -> Estimate:
    """That of the first platform there that can run it. Nothing is deployed for it. Raises as `Server.ask`."""
    own = spec.bundle["kind"] == package.KIND
    address = str(spec.bundle["entry"]) if own else processes.address(server, spec)
    described = processes.described(server, address)
    if described is None:
        return Estimate(text="It says nothing of a package before it is deployed there.")
    body = execute_request(spec, described, Sending(settings.value_bytes, settings.s3), draft=False)
    reply = server.ask("POST", f"{address}/estimate", {"inputs": body["inputs"]})
    found = reply.json() if reply.status == 200 else None
    listed = found.get("estimates") if isinstance(found, Mapping) else None
    told = [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    first = next((one for one in told if one.get("fits") is True and one.get("basis") != "none"), None)
    return Estimate(text="The platform gives no estimates.") if first is None else _read(first)


def _read(told: Mapping[str, Any]) -> Estimate:
    size = _number(told.get("size"))
    return Estimate(
        costs=_number(told.get("costs")),
        currency=str(told.get("currency") or "credits")[:40],
        duration=_number(told.get("duration")),
        size=None if size is None else int(size),
        text=str(told.get("text") or "")[:SHOWN],
    )


def _number(value: Any) -> float | None:
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")
    return float(value) if good else None
