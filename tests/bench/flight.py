"""Figures of very many jobs on platforms elsewhere: how long after a change the broker knows it, and who waits."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from broker.store.database import Database
from broker.store.tables import job_events, jobs
from tests.bench.pygeoapi import pygeoapi_peer
from tests.bench.sites import CrowdSite, OpenEoSite, PygeoapiSite, Site
from tests.bench.table import Figure
from tests.peers.broker import BrokerPeer, broker_peer, wait_for
from tests.peers.crowd import crowd_peer
from tests.peers.openeo.peer import openeo_peer
from tests.peers.postgres import postgres_peer
from tests.peers.pygeoapi import SOFTWARE

LAG_SECONDS, LAG_FACTOR = 10.0, 1.2
PATIENCE = 120.0
REAL_RATE = 50.0
LATE = 4  # requests that were to go in the second before: one of each thread that calls, on a busy machine


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
    """Jobs on a platform of a broker, which is the site by the adapter that it is named for; all at one time."""

    def __init__(self, peer: BrokerPeer, site: Site, rate: float | None = None) -> None:
        self.peer, self.site, self._name = peer, site, site.name
        self.database = Database(f"sqlite:///{peer.state / 'broker.db'}")
        wait_for(lambda: peer.get(f"/platforms/{site.name}").status_code == 200, 30, peer.log.read_text)
        self._process = site.deploy(peer)
        self._rate = rate or 100.0

    def fly(self, count: int, over: float) -> Flown:
        """All of them begin, and then end, at moments spread over so many seconds."""
        patience = PATIENCE + over + 40 * count / self._rate  # most requests go to looks at those that are there
        before, start = self._echo(), time.monotonic()
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: self.peer.execute(self._process, {}, platform=self._name), range(count)))
        self._wait("submitted", count, patience)
        submitted = time.monotonic() - start
        self.site.let("running", over)
        during = self._echo()
        if self.site.starts:
            self._wait("running", count, patience)
        start = time.monotonic()
        self.site.let("finished", over)
        self._wait("successful", count, patience)
        harvested = time.monotonic() - start
        began = self._lags("running") if self.site.starts else []
        return Flown(began, self._lags("finished"), submitted, harvested, before, during)

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
        query = query.where(job_events.c.event == event, jobs.c.process_id == self._process)

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
        query = select(job_events.c.job_id, job_events.c.attempt, job_events.c.at, jobs.c.handle)
        query = query.join(jobs, jobs.c.id == job_events.c.job_id)
        query = query.where(job_events.c.event == state, jobs.c.process_id == self._process)
        moment = self.site.moments(state)
        with self.database.read() as tx:
            rows = tx.execute(query).all()
        return [row.at - moment(f"eb-{row.job_id}-{row.attempt}", row.handle) for row in rows]


def figures(folder: Path, count: int = 1000, over: float = 60.0) -> list[Figure]:
    """Both adapters, with and without a limit of requests, on a light server and on real ones. Where all jobs end at
    one moment, `over` is 0: pygeoapi answers nobody for 20 seconds then."""
    found = []
    for adapter, rate, spread in (("openeo", None, over), ("openeo", 50.0, 0.0), ("ogcapi", 100.0, over)):
        with crowd_peer() as crowd, broker_peer(folder / f"{adapter}{rate}", platforms=crowd.platforms(rate)) as peer:
            found += _figures(Flight(peer, CrowdSite(crowd, adapter), rate), "the crowd", count, rate, spread)
    for what, made, spread in (("openeo-driver", _openeo_driver, 0.0), ("pygeoapi", _pygeoapi, over)):
        with made(folder, count, REAL_RATE) as flight:
            found += _figures(flight, what, count, REAL_RATE, spread)
    return found


def _figures(flight: Flight, what: str, count: int, rate: float | None, over: float) -> list[Figure]:
    flown = flight.fly(count, over)
    busiest, reach = max(flight.site.requests().values()), bound(count, rate)
    limit = f"at {rate:g} requests/s" if rate else "no limit of requests"
    ends = f"ends known after p50 {statistics.median(flown.ended):.1f}, at most {max(flown.ended):.1f} s"
    print(f"    {what}, {flight.site.name}, {limit}: all submitted in {flown.submitted:.0f} s;", end=" ")
    print(f"{ends}; harvested in {flown.harvested:.0f} s; {busiest} requests in 1 s")
    named = f"{count:,} jobs in flight on {what} ({flight.site.name}), {limit}"
    longest = max(flown.began + flown.ended)
    lag = f"p50 {statistics.median(flown.began or flown.ended):.1f}, longest {longest:.1f} s"
    goal = f"at most {reach:g} s"
    found = [Figure(f"{named}: until a change of status is known", lag, "-", longest, reach, goal)]
    echo, before = f"{flown.during * 1000:.0f} ms", f"before: {flown.before * 1000:.0f} ms"
    slower = flown.during - flown.before
    found.append(Figure(f"{named}: echo on this machine", echo, before, slower, 1.0, "at most 1 s more"))
    if rate is not None:
        most, said = rate + LATE, f"at most {rate:g}, and {LATE} of the second before"
        found.append(Figure(f"{named}: requests in a second", f"{busiest}", "-", busiest, most, said))
    return found


@contextmanager
def _openeo_driver(folder: Path, count: int, rate: float) -> Iterator[Flight]:
    """The real back-end: each job is evaluated, in a thread of its own."""
    (folder / "driver").mkdir()
    with openeo_peer(folder / "driver", workers=count) as back_end:
        platform = {"adapter": "openeo", "cwl": "none", **back_end.settings(), "terms": {"requests": rate}}
        with broker_peer(folder / "beside driver", platforms=_platforms(openeo=platform)) as peer:
            yield Flight(peer, OpenEoSite(back_end, "openeo"), rate)


@contextmanager
def _pygeoapi(folder: Path, count: int, rate: float) -> Iterator[Flight]:
    """The real server, with its PostgreSQL manager: TinyDB reads the whole file of all jobs for each answer."""
    there = folder / "pygeoapi"
    there.mkdir()
    with postgres_peer() as postgres, pygeoapi_peer(SOFTWARE, postgres, there, workers=1, logs=True) as port:
        url = f"http://127.0.0.1:{port}"
        platform = {"adapter": "ogcapi", "url": url, "terms": {"requests": rate}}
        platforms = _platforms(ogcapi=platform)
        # when a job ended is known there until it is deleted
        with broker_peer(folder / "beside pygeoapi", platforms=platforms, RETENTION__SCRATCH_DAYS="1") as peer:
            yield Flight(peer, PygeoapiSite(url, there, "ogcapi", postgres.url_of("test0")), rate)


def _platforms(**elsewhere: Any) -> dict[str, Any]:
    return {"local": {"adapter": "local"}, **elsewhere}
