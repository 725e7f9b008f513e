"""Where experiments are looked up: at an address, by an id in a configured catalog, in records that are sent along."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Sources:
    """What an experiment is looked up with: addresses (`egress`), configured catalogs, and what reads packages."""

    database: Database
    egress: Egress
    publishers: Callable[[], Publishers]
    read_package: Callable[[bytes, str, str | None], tuple[Deployment, Inspection]]
    images: Images


def resolved(sources: Sources, principal: Principal, where: str, files: Mapping[str, bytes]) -> Experiment:
    """The experiment, wherever its records lie: see `reproduce.Asked`.

    Raises InputError where there is no such experiment, TargetUnavailable, TargetRefused of a catalog.
    """
    if files:
        return resolve(HOME + where, _reader(Files(files), sources.egress))
    if where.startswith(("https://", "http://")):
        for name, home in _catalogs(sources):
            if where.startswith(home):
                path = where.removeprefix(home)
                return _in_catalog(sources, principal, name, path)
        return resolve(where, _reader(Files({}), sources.egress))
    if not _ID.match(where):
        raise InputError(InputProblem("/experiment", "is neither the address of a record, nor the id of one, or a job"))
    path = entry_path("experiments", where)
    names = [name for name, _ in _catalogs(sources)]
    for number, name in enumerate(names):
        try:
            return _in_catalog(sources, principal, name, path)
        except InputError:
            if number == len(names) - 1:
                raise
    raise InputError(
        InputProblem("/experiment", f"{where} is no address, and this broker has no catalog to look it up in"),
        hint=f"Give the address of its record: {HOME}{path}",
    )


def _catalogs(sources: Sources) -> list[tuple[str, str]]:
    """Names and homes of the configured catalogs, those that count before those for tests."""
    offers = sorted(sources.publishers().offered(), key=lambda offer: offer.test)
    return [(offer.name, offer.home.rstrip("/") + "/") for offer in offers if offer.home is not None]


def _in_catalog(sources: Sources, principal: Principal, name: str, path: str) -> Experiment:
    def look(tree: Tree) -> Experiment:
        return resolve(HOME + path, _reader(tree, sources.egress))

    return sources.publishers().tree(name, principal.owner, principal.project, look)


def _reader(tree: Tree, egress: Egress) -> Read:
    """Reads what the catalog has from there, and all else from its address."""
    paths = frozenset(tree.paths())

    def read(address: str, limit: int) -> bytes:
        path = address.removeprefix(HOME)
        if path not in paths:
            if paths and address.startswith(HOME):
                raise StagingError(f"The catalog has no {path[:200]}.")
            return egress.get_bytes(address, limit)
        content = tree.read(path) or b""
        if len(content) > limit:
            raise StagingError(f"{path[:200]} has more than {limit} bytes.")
        return content

    return read
