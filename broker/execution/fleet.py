"""The fleet: the platforms of this process, those of broker.toml and those that were added while the broker runs."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from broker.access.vault import Vault
from broker.errors import SetupError
from broker.execution.accounts import Kept
from broker.jobs.terms import NO_TERMS, Terms
from broker.platform import Personal, Platform
from broker.store import platformconfigs
from broker.store.database import Database
from broker.store.platformconfigs import Config

REMEMBERED = 2.0  # seconds: how long after an operator's change other processes may not know of it
TERMS = "terms"  # the option that is the broker's own: `[platforms.NAME.terms]`


@dataclass(frozen=True, slots=True)
class Entry:
    """How a platform is configured. `config`: of one that was added while the broker runs."""

    adapter: str
    options: Mapping[str, Any] = field(repr=False)
    config: Config | None = None

    @property
    def terms(self) -> Terms:
        """What its operator says of it. Raises SetupError."""
        return terms_of(self.options)


class Fleet(Mapping[str, Platform]):
    """Platforms by name, made when they are first asked for, and again when what is configured of them has changed.

    `configured`: options by name, with `adapter`; `make`: name, kind, options -> the platform. For all threads of a
    process. Looking one up raises KeyError, and SetupError for one that cannot be made.
    """

    def __init__(
        self,
        configured: Mapping[str, Mapping[str, Any]],
        database: Database,
        vault: Callable[[], Vault],
        make: Callable[[str, str, Mapping[str, Any]], Platform],
    ) -> None:
        self._configured = {name: _entry(options) for name, options in configured.items()}
        self._database = database
        self._vault = vault
        self._make = make
        self._lock = threading.Lock()
        self._until = 0.0
        self._state: tuple[int, float | None] = (0, None)
        self._entries: Mapping[str, Entry] = self._configured
        self._made: dict[str, tuple[Entry, Platform]] = {}

    def entries(self) -> Mapping[str, Entry]:
        """How each is configured, as of a moment ago, in the operator's order. Raises StorageError."""
        if time.monotonic() >= self._until:
            with self._lock:
                if time.monotonic() >= self._until:
                    self._read()
        return self._entries

    def forget(self) -> None:
        """Ask the database again: somebody has changed a row."""
        self._until = 0.0

    def _read(self) -> None:
        with self._database.read() as tx:
            state = platformconfigs.state(tx)
            if state != self._state:
                added = [one for one in platformconfigs.every(tx) if of_this_host(one.name)]
                found = {one.name: Entry(one.adapter, one.options, one) for one in added}
                self._entries = self._configured | found | self._configured  # first, and not replaced
                self._state = state
        self._until = time.monotonic() + REMEMBERED

    def __getitem__(self, name: str) -> Platform:
        entry = self.entries()[name]
        with self._lock:
            made = self._made.get(name)
            if made is None or made[0] != entry:
                made = self._made[name] = (entry, self._new(name, entry))
            return made[1]

    def __contains__(self, name: object) -> bool:
        return name in self.entries()

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries())

    def __len__(self) -> int:
        return len(self.entries())

    def tried(self, name: str, adapter: str, options: Mapping[str, Any]) -> Platform:
        """A platform as it would be with these options. Raises NoSuchPlatform, SetupError."""
        terms_of(options)
        return self._make(name, adapter, {key: value for key, value in options.items() if key != TERMS})

    def _new(self, name: str, entry: Entry) -> Platform:
        options = {key: value for key, value in entry.options.items() if key != TERMS}
        if entry.config is not None and entry.config.sealed is not None:
            options |= orjson.loads(self._vault().open(entry.config.sealed, entry.config.bond))
        made = self._make(name, entry.adapter, options)
        if isinstance(made, Personal):
            made.accounts = Kept(self._database, self._vault)
        return made


def _entry(options: Mapping[str, Any]) -> Entry:
    return Entry(str(options["adapter"]), {key: value for key, value in options.items() if key != "adapter"})


def of_this_host(name: str) -> bool:
    """Whether this process may use a platform: a local one is of one host only."""
    _, at, host = name.partition("@")
    return not at or host == socket.gethostname()


def terms_of(options: Mapping[str, Any]) -> Terms:
    """The terms among the options of a platform. Raises SetupError."""
    if not options.get(TERMS):
        return NO_TERMS
    try:
        return TypeAdapter(Terms).validate_python(options[TERMS])
    except ValidationError as error:
        said = (f"{'.'.join(map(str, one['loc'])) or TERMS}: {one['msg']}" for one in error.errors(include_input=False))
        raise SetupError(f"The terms of a platform are not right: {'; '.join(said)}.") from None
