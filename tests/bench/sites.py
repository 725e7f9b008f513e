"""Sites: servers with very many jobs, as a flight needs them: jobs that all go on when it says, and when they did."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import psycopg
import requests

from tests.peers.broker import BrokerPeer
from tests.peers.crowd import CrowdPeer
from tests.peers.openeo.peer import OpenEoPeer

OPENEO = "application/vnd.openeo+json;type=process"
UDP = {"id": "udp", "process_graph": {"wait": {"process_id": "wait", "arguments": {}, "result": True}}}
GATE = {
    "id": "gate",
    "process_graph": {"gate": {"process_id": "gate", "arguments": {"value": "done"}, "result": True}},
}
Moment = Callable[[str, Mapping[str, Any]], float]
"""The name of a job and its handle -> epoch seconds. Raises KeyError."""


class Site(Protocol):
    """`name`: of the platform in the broker; `starts`: whether the server says when a job begins to run."""

    name: str
    starts: bool

    def deploy(self, peer: BrokerPeer) -> str:
        """Deploy the process whose jobs wait there; its id."""
        ...

    def let(self, state: str, over: float) -> None:
        """The jobs that are there go to a state ("running", "finished") in the next seconds."""
        ...

    def moments(self, state: str) -> Moment:
        """When jobs went to a state."""
        ...

    def requests(self) -> Mapping[int, int]:
        """How many requests arrived in which second."""
        ...


def _deployed(peer: BrokerPeer, body: Mapping[str, Any], media_type: str) -> str:
    made = peer.post("/processes", data=json.dumps(body), headers={"Content-Type": media_type})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


def _registered(peer: BrokerPeer, address: str) -> str:
    return _deployed(peer, {"executionUnit": {"href": address}}, "application/ogcapppkg+json")


@dataclass
class CrowdSite:
    """The light server, by the adapter that its platform is named for."""

    crowd: CrowdPeer
    name: str
    starts: bool = True

    def deploy(self, peer: BrokerPeer) -> str:
        if self.name == "openeo":
            return _deployed(peer, UDP, OPENEO)
        return _registered(peer, f"{self.crowd.ogc}/processes/wait")

    def let(self, state: str, over: float) -> None:
        self.crowd.let(state, over)

    def moments(self, state: str) -> Moment:
        there = self.crowd.changed(state)
        return lambda name, _: there[name]

    def requests(self) -> Mapping[int, int]:
        return self.crowd.requests()


@dataclass
class OpenEoSite:
    """openeo-driver: jobs begin when they are started, as many as it has workers, and all end at once."""

    peer: OpenEoPeer
    name: str
    starts: bool = True

    def deploy(self, peer: BrokerPeer) -> str:
        return _deployed(peer, GATE, OPENEO)

    def let(self, state: str, over: float) -> None:
        if state == "finished":
            requests.post(f"{self.peer.url}/control", timeout=60).raise_for_status()

    def _control(self) -> Any:
        return requests.get(f"{self.peer.url}/control", timeout=60).json()

    def moments(self, state: str) -> Moment:
        there, column = self._control()["jobs"], ["running", "finished"].index(state)
        return lambda _, handle: float(there[handle["id"]][column])

    def requests(self) -> Mapping[int, int]:
        return {int(second): count for second, count in self._control()["seconds"].items()}


@dataclass
class PygeoapiSite:
    """pygeoapi: a job is `accepted` until it writes its result. `folder` has what opens the gate, and `access.log`;
    `database` is that of its PostgreSQL manager. Without it, jobs are taken to have ended when the gate was opened."""

    url: str
    folder: Path
    name: str
    database: str | None = None
    starts: bool = False
    opened: float = 0.0

    def deploy(self, peer: BrokerPeer) -> str:
        return _registered(peer, f"{self.url}/processes/gate")

    def let(self, state: str, over: float) -> None:
        if state == "finished":
            self.opened = time.time()
            (self.folder / "ajar").write_text(str(over))
            (self.folder / "ajar").rename(self.folder / "opened")

    def moments(self, state: str) -> Moment:
        if self.database is None:
            return lambda *_: self.opened
        with psycopg.connect(self.database) as connection:
            rows = connection.execute("select identifier, finished from jobs where finished is not null").fetchall()
        there = {job: at.replace(tzinfo=UTC).timestamp() for job, at in rows}
        return lambda _, handle: there[str(handle["job"]).rpartition("/")[2]]

    def requests(self) -> Mapping[int, int]:
        """By gunicorn's own log, whose seconds are those in which requests were answered."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return Counter(int(datetime.strptime(one, "[%d/%b/%Y:%H:%M:%S %z]").timestamp()) for one in lines)
