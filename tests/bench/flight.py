"""Figures of very many jobs on platforms elsewhere: how long after a change the broker knows it, and who waits."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, select

from broker.store.database import Database
from broker.store.tables import job_events, jobs
from tests.bench.table import Figure
from tests.peers.broker import BrokerPeer, broker_peer, wait_for
from tests.peers.crowd import CrowdPeer, crowd_peer

LAG_SECONDS, LAG_FACTOR = 10.0, 1.2
PATIENCE = 120.0
UDP = {"id": "udp", "process_graph": {"wait": {"process_id": "wait", "arguments": {}, "result": True}}}
OPENEO = "application/vnd.openeo+json;type=process"


@dataclass(frozen=True)
class Flown:
    """`began`, `ended`: seconds from each change there until the broker had it in the job's events; `submitted`,
    `harvested`: seconds that all took; `before`, `during`: seconds of echo on this machine."""

    began: list[float]
    ended: list[float]
    submitted: float
    harvested: float
    before: float
    during: float


def bound(count: int, rate: float | None) -> float:
    """Seconds that a status may be old, with so many jobs where so many requests a second are allowed."""
    return max(LAG_SECONDS, 0.0 if rate is None else LAG_FACTOR * count / rate)


class Flight:
    """Jobs on a platform of a broker, which is the crowd by the adapter that it is named for; all at one time."""

    def __init__(self, peer: BrokerPeer, crowd: CrowdPeer, adapter: str, rate: float | None = None) -> None:
        self.peer, self.crowd, self._name = peer, crowd, adapter
        self.database = Database(f"sqlite:///{peer.state / 'broker.db'}")
        wait_for(lambda: peer.get(f"/platforms/{adapter}").status_code == 200, 30, peer.log.read_text)
        self._process = self._deployed(adapter)
        self._rate = rate or 100.0

    def _deployed(self, adapter: str) -> str:
        if adapter == "openeo":
            made = self.peer.post("/processes", data=json.dumps(UDP), headers={"Content-Type": OPENEO})
        else:
            body = {"executionUnit": {"href": f"{self.crowd.ogc}/processes/wait"}}
            made = self.peer.post("/processes", json=body, headers={"Content-Type": "application/ogcapppkg+json"})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def fly(self, count: int, over: float) -> Flown:
        """All of them begin, and then end, at moments spread over so many seconds."""
        patience = PATIENCE + over + 10 * count / self._rate
        before, start = self._echo(), time.monotonic()
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: self.peer.execute(self._process, {}, platform=self._name), range(count)))
        self._wait("submitted", count, patience)
        submitted = time.monotonic() - start
        self.crowd.let("running", over)
        during = self._echo()
        self._wait("running", count, patience)
        start = time.monotonic()
        self.crowd.let("finished", over)
        self._wait("successful", count, patience)
        harvested = time.monotonic() - start
        return Flown(self._lags("running"), self._lags("finished"), submitted, harvested, before, during)

    def _echo(self) -> float:
        """Seconds of a job of this machine: the median of three."""
        took = []
        for _ in range(3):
            began = time.monotonic()
            status = self.peer.ended(self.peer.execute("echo", {"message": "x"}))
            assert status["status"] == "successful", status
            took.append(time.monotonic() - began)
        return statistics.median(took)

    def _wait(self, event: str, count: int, seconds: float) -> None:
        query = select(func.count()).select_from(job_events.join(jobs, jobs.c.id == job_events.c.job_id))
        query = query.where(job_events.c.event == event, jobs.c.platform == self._name)

        def all_of_them() -> bool:
            time.sleep(0.2)  # asking costs the broker something too
            with self.database.read() as tx:
                return int(tx.execute(query).scalar_one()) >= count

        wait_for(all_of_them, seconds, lambda: f"not all {event}: {self._phases()}")

    def _phases(self) -> Mapping[str, int]:
        with self.database.read() as tx:
            found = tx.execute(select(jobs.c.phase, func.count()).group_by(jobs.c.phase))
            return {phase: count for phase, count in found}

    def _lags(self, state: str) -> list[float]:
        query = select(job_events.c.job_id, job_events.c.attempt, job_events.c.at)
        query = query.join(jobs, jobs.c.id == job_events.c.job_id)
        query = query.where(job_events.c.event == state, jobs.c.platform == self._name)
        there = self.crowd.changed(state)
        with self.database.read() as tx:
            found = [(f"eb-{row.job_id}-{row.attempt}", row.at) for row in tx.execute(query)]
        return [at - there[name] for name, at in found if name in there]


def figures(folder: Path, count: int = 1000, over: float = 60.0) -> list[Figure]:
    """Both adapters, with and without a limit of requests."""
    found = []
    for adapter, rate in (("openeo", None), ("openeo", 50.0), ("ogcapi", 100.0)):
        with crowd_peer() as crowd, broker_peer(folder / f"{adapter}{rate}", platforms=crowd.platforms(rate)) as peer:
            flown = Flight(peer, crowd, adapter, rate).fly(count, over)
            busiest = max(crowd.requests().values())
        reach = bound(count, rate)
        limit = f"at {rate:g} requests/s" if rate else "no limit of requests"
        print(f"    {adapter}, {limit}: all submitted in {flown.submitted:.0f} s; ends known after p50", end=" ")
        print(f"{statistics.median(flown.ended):.1f}, at most {max(flown.ended):.1f} s; {busiest} requests in 1 s")
        what = f"{count:,} jobs in flight, {adapter}, {limit}"
        lag = f"p50 {statistics.median(flown.began):.1f}, longest {max(flown.began):.1f} s"
        goal = f"at most {reach:g} s"
        found.append(Figure(f"{what}: until a change of status is known", lag, "-", max(flown.began), reach, goal))
        echo, before = f"{flown.during * 1000:.0f} ms", f"before: {flown.before * 1000:.0f} ms"
        slower = flown.during - flown.before
        found.append(Figure(f"{what}: echo on this machine", echo, before, slower, 1.0, "at most 1 s more"))
    return found
