"""What publishing works with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.egress import Egress
from broker.results.cloudready import Look
from broker.storage import Storage
from broker.store.database import Database

if TYPE_CHECKING:
    from broker.execution.publishers import Publishers


@dataclass(frozen=True)
class Desk:
    """`egress`: to look at what is live; `look`: reads the heads of rasters in a child; `home`: the address of this
    broker, if others can reach it; `observe`: seconds between two looks at a proposal."""

    database: Database
    storage: Storage
    publishers: Publishers
    egress: Egress
    look: Look
    home: str | None = None
    observe: float = 300.0


class Reading:
    """Bytes of storage for who only looks: see `broker.results.target.Files`. A source is a key."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def open(self, source: str) -> Iterator[bytes]:
        return self._storage.open(source)

    def progress(self, count: int) -> None:
        """Nobody waits."""
