"""`make bench`: measures every figure, prints the table, and exits 1 if one was missed.

python -m tests.bench [NAME ...]     names: echo scatter http many memory provenance recovery flight demo (default: all)
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import requests

from broker.store.database import Database
from tests.bench import cwl, flight, http, provenance, whole
from tests.bench.pygeoapi import pygeoapi_peer
from tests.bench.table import Figure, show
from tests.peers.broker import BrokerPeer, broker_peer
from tests.peers.postgres import postgres_peer

PYGEOAPI = Path(__file__).resolve().parents[2] / ".software" / "bench"


def stack(measure: Callable[[BrokerPeer, Path], list[Figure]], **platform: object) -> list[Figure]:
    """Measure on a broker of its own, as `broker up` starts it by default."""
    with tempfile.TemporaryDirectory() as folder:
        local = {"local": {"adapter": "local", **platform}}
        with broker_peer(Path(folder) / "state", platforms=local) as peer:
            return measure(peer, Path(folder))


def alone(measure: Callable[[Path], list[Figure]]) -> list[Figure]:
    """Measure what starts its own brokers."""
    with tempfile.TemporaryDirectory() as folder:
        return measure(Path(folder))


def beside_pygeoapi(peer: BrokerPeer, folder: Path) -> list[Figure]:
    # both sides wait for the disk before they say that a job is accepted
    with postgres_peer(durable=True) as postgres, pygeoapi_peer(PYGEOAPI, postgres, folder, workers=1) as port:
        answer = requests.post(
            f"http://127.0.0.1:{port}/processes/hello-world/execution",
            json={"inputs": {"name": "x"}},
            headers={"Prefer": "respond-async"},
            timeout=30,
        )
        return http.beside_pygeoapi(peer, port, answer.headers["Location"].rpartition("/")[2])


def many(peer: BrokerPeer, folder: Path) -> list[Figure]:
    peer.ended(peer.execute("echo", {"message": "x"}))
    database = Database(f"sqlite:///{peer.state / 'broker.db'}")
    return http.many_jobs(peer, database) + http.many_processes(peer, database)


FIGURES: dict[str, Callable[[], list[Figure]]] = {
    "echo": lambda: stack(lambda peer, folder: [cwl.echo(peer, folder)]),
    "scatter": lambda: stack(lambda peer, folder: [cwl.scatter(peer, folder)]),
    "http": lambda: stack(beside_pygeoapi),
    "many": lambda: stack(many),
    "memory": lambda: stack(lambda peer, folder: [whole.idle_memory(peer)]),
    "provenance": lambda: alone(provenance.cost),
    "recovery": lambda: stack(lambda peer, folder: [whole.recovery(peer)]),
    "flight": lambda: alone(flight.figures),
    "demo": lambda: [whole.demo()],
}


def main(names: list[str]) -> int:
    figures: list[Figure] = []
    for name in names or FIGURES:
        print(f"measuring {name}", flush=True)
        figures += FIGURES[name]()
        show(figures)
    return 0 if all(figure.reached for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
