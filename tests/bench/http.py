"""Figures of the HTTP API: beside pygeoapi, with 100,000 stored jobs beside 100, with 10,000 processes beside 100."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice

from sqlalchemy import insert, select

from broker.jobs.model import Needs
from broker.store.database import Database, new_id
from broker.store.tables import jobs, now, processes
from tests.bench import load
from tests.bench.table import Figure
from tests.peers.broker import BrokerPeer

SUBMITS, READS, CLIENTS = 400, 3000, 8
JSON = ("Content-Type", "application/json")
ASYNC = ("Prefer", "respond-async")


def submit(path: str, inputs: dict[str, object]) -> Callable[[int], bytes]:
    body = json.dumps({"inputs": inputs}).encode()
    return lambda _: load.request("POST", path, body, [JSON, ASYNC])


def get(path: str) -> Callable[[int], bytes]:
    whole = load.request("GET", path, headers=[("Accept", "application/json")])
    return lambda _: whole


def beside_pygeoapi(peer: BrokerPeer, port: int, pygeoapi_job: str) -> list[Figure]:
    """Submissions (both run the jobs meanwhile) and status reads, in turn: ours, theirs, ours, theirs, best of each."""
    ours, theirs = (
        submit("/processes/echo/execution", {"message": "x"}),
        submit("/processes/hello-world/execution", {"name": "x"}),
    )
    pairs = [
        (
            load.run(peer.port, ours, count=SUBMITS, clients=CLIENTS),
            load.run(port, theirs, count=SUBMITS // 2, clients=CLIENTS),
        )
        for _ in range(3)
    ]
    drain(peer)
    submits = _versus("async submissions per second", pairs)
    job = peer.execute("echo", {"message": "x"})
    peer.ended(job)
    pairs = [
        (
            load.run(peer.port, get(f"/jobs/{job}"), count=READS, clients=CLIENTS),
            load.run(port, get(f"/jobs/{pygeoapi_job}?f=json"), count=READS // 4, clients=CLIENTS),
        )
        for _ in range(3)
    ]
    return [submits, _versus("GET job status per second", pairs)]


def _versus(what: str, pairs: list[tuple[load.Load, load.Load]]) -> Figure:
    ours, theirs = (sorted(side, key=lambda one: one.rate)[len(side) // 2] for side in zip(*pairs, strict=True))
    ratio = ours.rate / theirs.rate
    return Figure(what, str(ours), f"pygeoapi {theirs}", ratio, 5.0, "at least 5x pygeoapi", at_least=True)


def drain(peer: BrokerPeer) -> None:
    """Wait until no job is left to do."""
    from tests.peers.broker import wait_for

    def idle() -> bool:
        return not any(
            peer.get("/jobs", params={"status": s, "limit": 1}).json()["jobs"] for s in ("accepted", "running")
        )

    wait_for(idle, 300, lambda: "the queue does not drain")


def many_jobs(peer: BrokerPeer, database: Database, few: int = 100, many: int = 100_000) -> list[Figure]:
    """Submit, status and a list of 20, with `few` and with `many` finished jobs stored."""
    _fill(database, few)
    small = _three(peer)
    _fill(database, many)
    large = _three(peer)
    return [
        Figure(
            f"{what}, with {many:,} jobs stored",
            f"p50 {after.p50:.2f} ms",
            f"with {few} jobs: p50 {before.p50:.2f} ms",
            after.p50 / before.p50,
            1.3,
            "within 1.3x",
        )
        for what, before, after in zip(("submit", "status", "GET /jobs?limit=20"), small, large, strict=True)
    ]


def many_processes(peer: BrokerPeer, database: Database, few: int = 100, many: int = 10_000) -> list[Figure]:
    """A page of the list with `few` and with `many` processes deployed; then with as many that only others see."""
    found = []
    for count, owner in ((few, "local"), (many, "local"), (2 * many, "somebody else")):
        _deploy(database, count, owner)
        runs = [load.run(peer.port, get("/processes?limit=20"), count=300, clients=1) for _ in range(3)]
        found.append(sorted(runs, key=lambda run: run.p50)[1])
    before, after, hidden = found
    return [
        Figure(
            f"GET /processes?limit=20, with {many:,} processes",
            f"p50 {after.p50:.2f} ms",
            f"with {few}: p50 {before.p50:.2f} ms",
            max(after.p50, hidden.p50) / before.p50,
            1.3,
            "within 1.3x",
        )
    ]


def _deploy(database: Database, total: int, owner: str) -> None:
    """Processes up to `total`, as copies of the built-in one."""
    with database.read() as tx:
        row = dict(tx.execute(select(processes).where(processes.c.id == "echo")).mappings().one())
        there = len(tx.execute(select(processes.c.id)).all())
    mine = {"owner": owner, "project": owner, "shared": "private", "mutable": True}
    new = [row | mine | {"id": f"p-{number:06}"} for number in range(there, total)]
    with database.write() as tx:
        tx.execute(insert(processes).values(created=now()), new)


def _three(peer: BrokerPeer) -> list[load.Load]:
    job = peer.execute("echo", {"message": "x"})
    peer.ended(job)
    kinds = [
        (submit("/processes/echo/execution", {"message": "x"}), 100),
        (get(f"/jobs/{job}"), 1000),
        (get("/jobs?limit=20"), 300),
    ]
    found = []
    for make, count in kinds:
        runs = [load.run(peer.port, make, count=count, clients=1) for _ in range(3)]
        found.append(sorted(runs, key=lambda run: run.p50)[1])
        drain(peer)
    return found


def _fill(database: Database, total: int) -> None:
    """Finished jobs up to `total`, as copies of one that really ran."""
    with database.read() as tx:
        row = dict(tx.execute(select(jobs).where(jobs.c.phase == "successful").limit(1)).mappings().one())
        there = len(tx.execute(select(jobs.c.id)).all())
    row |= {"due_at": None, "needs": Needs.from_json(row["needs"]).to_json()}
    fresh = iter({**row, "id": new_id()} for _ in range(max(0, total - there)))
    while batch := list(islice(fresh, 5000)):
        with database.write() as tx:
            tx.execute(insert(jobs).values(created=now()), batch)
    with database.engine.connect() as connection:  # not for the requests that are timed next to tidy up
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
