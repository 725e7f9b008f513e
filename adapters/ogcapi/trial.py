"""What tries a server end to end: what its operator names, a CWL package, or one of its processes that brings all that
it needs to run.

A process of a server that takes no packages is run only where its own description says with what: it is somebody's, and
what it does with inputs of ours nobody knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from adapters.ogcapi import processes
from adapters.ogcapi.server import Server
from adapters.ogcapi.settings import OgcApiSettings
from broker.errors import PlatformRefused
from broker.packages.docker import named, schema_of
from broker.platform import Trial

ECHO = """\
cwlVersion: v1.2
class: CommandLineTool
id: trial
baseCommand: echo
inputs:
  message: {type: string, inputBinding: {}}
outputs:
  said: {type: stdout}
stdout: said.txt
"""
LISTED, READ = 100, 10  # processes whose names are looked at, and of which the descriptions are read
HARMLESS = ("hello", "echo")  # in the name of a process that servers have for being tried


def package(name: str) -> Trial:
    """For a server that takes CWL packages, which is the platform `name`."""
    return Trial(ECHO, "application/cwl", {"message": f"{name} runs jobs."})


def chosen(server: Server, settings: OgcApiSettings) -> Trial | None:
    """The process that its operator names."""
    if settings.trial is None:
        return None
    address = settings.trial.process
    if not address.startswith(("https://", "http://")):
        address = f"{server.url}/processes/{quote(address, safe='~:@+')}"
    if not address.startswith(f"{server.url}/processes/") or processes.described(server, address) is None:
        raise PlatformRefused(
            f"{server.url} has no process {settings.trial.process}, with which it is to be tried.",
            hint="Name another one: the option `trial` of the platform.",
        )
    return by_reference(address, settings.trial.inputs)


def own(server: Server) -> Trial | None:
    """The first of the server's processes whose description says with what it runs; None where none of those read
    does. Raises as `Server.get`."""
    for name in _names(server):
        address = f"{server.url}/processes/{quote(name, safe='~:@+')}"
        described = processes.described(server, address)
        inputs = None if described is None else stated(described)
        if inputs is not None and (inputs or _harmless(name)):
            return by_reference(address, inputs)
    return None


def by_reference(address: str, inputs: Mapping[str, Any]) -> Trial:
    unit = {"href": address, "type": "application/json"}
    return Trial(json.dumps({"executionUnit": unit}), "application/json", inputs)


def _names(server: Server) -> Iterator[str]:
    """The ids to read, those first that say that they are there for this."""
    reply = server.get(f"{server.url}/processes?limit={LISTED}")
    listed = reply.json() if reply is not None else None
    found = listed.get("processes") if isinstance(listed, Mapping) else listed
    names = [str(one["id"]) for one in found if _identified(one)] if isinstance(found, list) else []
    yield from sorted(names[:LISTED], key=lambda name: not _harmless(name))[:READ]


def _identified(one: Any) -> bool:
    return isinstance(one, Mapping) and isinstance(one.get("id"), str) and bool(one["id"])


def _harmless(name: str) -> bool:
    return any(word in name.lower() for word in HARMLESS)


def stated(described: Mapping[str, Any]) -> dict[str, Any] | None:
    """The inputs that a description itself gives: of its `example` (pygeoapi), else the example or default of each that
    must be given; None where one of these is missing."""
    known = dict(named(described.get("inputs")))
    needed = {name for name, one in known.items() if one.get("minOccurs", 1) not in (0, "0")}
    example = described.get("example")
    whole = example.get("inputs") if isinstance(example, Mapping) else None
    if isinstance(whole, Mapping) and needed <= {*whole} <= {*known}:
        return dict(whole)
    found = {name: value for name in sorted(needed) for value in _values(known[name])}
    return found if {*found} == needed else None


def _values(described: Mapping[str, Any]) -> Iterator[Any]:
    """The value that the description of an input has for it, if it has one."""
    schema = schema_of(described)
    several = schema.get("examples")
    for value in (
        schema.get("example"),
        several[0] if isinstance(several, list) and several else None,
        described.get("example"),
        schema.get("default"),
    ):
        if value is not None:
            yield value
            return
