"""Where experiments are looked up: at an address, by an id in a configured catalog, in records that are sent along."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING

from broker.access.principal import Principal
from broker.egress import Egress
from broker.errors import InputError, InputProblem, StagingError
from broker.execution.images import Images
from broker.packages.cwl import Inspection
from broker.packages.deployment import Deployment
from broker.results.experiment import Experiment, Read, resolve
from broker.results.osc import HOME, entry_path
from broker.results.tree import Files, Tree
from broker.store.database import Database

if TYPE_CHECKING:
    from broker.execution.publishers import Publishers  # heavy: it brings the schemas of the catalog

_ID = re.compile(r"[\w.-]{1,200}\Z")
SECONDS = 30.0  # for all that is read of one experiment; what is under way then has as long as egress gives it
RECENT, MOST_RECENT = 300.0, 20  # seconds; experiments


class Recent:
    """Experiments that persons found in catalogs a moment ago: who looks at one, then checks it, then runs it, does not
    fetch the catalog three times. What cannot be run is looked up again, for somebody may have mended it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._found: dict[tuple[str, ...], tuple[float, Experiment]] = {}
        self._lock = Lock()

    def get(self, *key: str) -> Experiment | None:
        """`key`: the person, for whom, the catalog and the path there: catalogs may be private."""
        with self._lock:
            until, found = self._found.get(key, (0.0, None))
            return found if self._clock() < until else None

    def put(self, found: Experiment, *key: str) -> None:
        if any(remark.level == "error" for remark in found.remarks):
            return
        with self._lock:
            self._found.pop(key, None)
            self._found[key] = self._clock() + RECENT, found
            while len(self._found) > MOST_RECENT:
                del self._found[next(iter(self._found))]


@dataclass(frozen=True, slots=True)
class Sources:
    """What an experiment is looked up with: addresses (`egress`), configured catalogs, and what reads packages."""

    database: Database
    egress: Egress
    publishers: Callable[[], Publishers]
    read_package: Callable[[bytes, str, str | None], tuple[Deployment, Inspection]]
    images: Images
    recent: Recent = field(default_factory=Recent)


def resolved(sources: Sources, principal: Principal, where: str, files: Mapping[str, bytes]) -> Experiment:
    """The experiment, wherever its records lie: see `reproduce.Asked`.

    Raises InputError where there is no such experiment, TargetUnavailable, TargetRefused of a catalog.
    """
    if files:
        return resolve(HOME + where, _reader(Files(files), sources.egress))
    address = where.startswith(("https://", "http://"))
    if not address and not _ID.match(where):
        raise InputError(InputProblem("/experiment", "is neither the address of a record, nor the id of one, or a job"))
    places = _places(sources, where)
    for number, (name, path) in enumerate(places, 1):
        try:
            return _in_catalog(sources, principal, name, path)
        except InputError:
            if number == len(places):
                raise
    if address:
        return resolve(where, _reader(Files({}), sources.egress))
    raise InputError(
        InputProblem("/experiment", f"{where} is no address, and this broker has no catalog to look it up in"),
        hint=f"Give the address of its record: {HOME}{entry_path('experiments', where)}",
    )


def _places(sources: Sources, where: str) -> list[tuple[str, str]]:
    """Catalogs, and paths there. Records name the Open Science Catalog's address in whatever catalog they are: a link
    of one that is in a test catalog so far leads there too."""
    catalogs = _catalogs(sources)
    if _ID.match(where):
        return [(name, entry_path("experiments", where)) for name, _ in catalogs]
    own = [(name, where.removeprefix(home)) for name, home in catalogs if where.startswith(home)]
    named = [(name, where.removeprefix(HOME)) for name, home in catalogs if home != HOME and where.startswith(HOME)]
    return own + named


def _catalogs(sources: Sources) -> list[tuple[str, str]]:
    """Names and homes of the configured catalogs, those that count before those for tests."""
    offers = sorted(sources.publishers().offered(), key=lambda offer: offer.test)
    return [(offer.name, offer.home.rstrip("/") + "/") for offer in offers if offer.home is not None]


def _in_catalog(sources: Sources, principal: Principal, name: str, path: str) -> Experiment:
    def look(tree: Tree) -> Experiment:
        return resolve(HOME + path, _reader(tree, sources.egress))

    key = (principal.owner, principal.project, name, path)
    found = sources.recent.get(*key)
    if found is None:
        found = sources.publishers().tree(name, principal.owner, principal.project, look)
        sources.recent.put(found, *key)
    return found


def _reader(tree: Tree, egress: Egress) -> Read:
    """Reads what the catalog has from there, and all else from its address."""
    paths = frozenset(tree.paths())
    end = time.monotonic() + SECONDS

    def read(address: str, limit: int) -> bytes:
        path = address.removeprefix(HOME)
        if path not in paths:
            if paths and address.startswith(HOME):
                raise StagingError(f"The catalog has no {path[:200]}.")
            if time.monotonic() > end:
                raise StagingError(f"What belongs to it did not come within {SECONDS:.0f} seconds.")
            return egress.get_bytes(address, limit)
        content = tree.read(path) or b""
        if len(content) > limit:
            raise StagingError(f"{path[:200]} has more than {limit} bytes.")
        return content

    return read
