"""What operators do with platforms while the broker runs: add, remove, pause, check."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Connection

from broker.access.principal import Principal, Scope
from broker.access.vault import Vault
from broker.errors import BrokerError, Conflict, InputError, InputProblem, NoSuchPlatform, SetupError
from broker.execution.courtesy import within
from broker.execution.fleet import TERMS, Fleet, of_this_host
from broker.jobs.model import Capabilities
from broker.platform import Health, Near, Platform, Proving
from broker.store import audit, pace, platformconfigs, platforms
from broker.store.database import Database
from broker.store.platformconfigs import Config

log = logging.getLogger(__name__)
NAME_ONE = "name a process and its inputs, as the option `trial` of the platform."
UNKNOWN = Capabilities(kinds=frozenset())  # of a platform that never answered
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?\Z")


def add(
    database: Database,
    vault: Vault,
    fleet: Fleet,
    principal: Principal,
    name: str,
    adapter: str,
    options: Mapping[str, Any],
) -> bool:
    """Add a platform, or configure one anew that was added; whether it is new. It is checked, and takes jobs when it
    answers. All options but its terms are kept sealed: which of them are secret, only the adapter knows.

    Raises Forbidden, InputError, Conflict for one of broker.toml.
    """
    principal.need(Scope.ADMIN)
    if not _NAME.match(name):
        raise InputError(InputProblem("/name", "1 to 63 of a-z, 0-9, dot and dash; letters or digits at both ends"))
    if name in fleet and fleet.entries()[name].config is None:
        raise Conflict(f"The platform {name} is in broker.toml, and is changed there.")
    try:
        fleet.tried(name, adapter, options)
    except NoSuchPlatform as error:
        raise InputError(InputProblem("/adapter", str(error))) from None
    except SetupError as error:
        raise InputError(InputProblem("/options", error.detail)) from None
    kept = {TERMS: options[TERMS]} if options.get(TERMS) else {}
    secret = {key: value for key, value in options.items() if key != TERMS}
    sealed = vault.seal(orjson.dumps(secret), platformconfigs.bond(name))
    new = name not in fleet
    with database.write() as tx:
        platformconfigs.put(tx, Config(name, adapter, kept, sealed))
        audit.record(tx, audit.entry(principal, "add-platform", f"platform/{name}", adapter=adapter, new=new))
    fleet.forget()
    return new


def remove(database: Database, fleet: Fleet, principal: Principal, name: str) -> None:
    """Remove a platform that was added. Raises Forbidden, NoSuchPlatform, Conflict while it has jobs."""
    principal.need(Scope.ADMIN)
    with database.write() as tx:
        _refuse_busy(tx, name)
        if not platformconfigs.remove(tx, name):
            platforms.one(tx, name)
            raise Conflict(f"The platform {name} is in broker.toml, and is removed there.")
        platforms.remove(tx, name)
        audit.record(tx, audit.entry(principal, "remove-platform", f"platform/{name}"))
    fleet.forget()


def _refuse_busy(tx: Connection, name: str) -> None:
    if busy := platforms.left_on(tx, name):
        raise Conflict(
            f"The platform {name} is in use: jobs that are there, or have something there: {busy}.",
            hint="Pause it: what waits goes to platforms that can run it, what runs there ends. Dismiss those that no "
            "other platform can run, or whose request names this one (broker dismiss).",
        )


def reseal(database: Database, vault: Vault) -> int:
    """Seal the options of all with the vault's first key of now; how many were not. Raises SetupError."""
    with database.read() as tx:
        rows = platformconfigs.every(tx)
    count = 0
    for row in rows:
        if row.sealed is not None and not vault.newest(row.sealed):
            again = vault.seal(vault.open(row.sealed, row.bond), row.bond)
            with database.write() as tx:
                count += platformconfigs.reseal(tx, row, again)
    return count


def pause(database: Database, principal: Principal, name: str, *, paused: bool) -> None:
    """A paused platform takes no new jobs; what runs there goes on. Raises Forbidden, NoSuchPlatform."""
    principal.need(Scope.ADMIN)
    with database.write() as tx:
        platforms.one(tx, name)
        platforms.pause(tx, name, paused)
        audit.record(tx, audit.entry(principal, "pause-platform" if paused else "resume-platform", f"platform/{name}"))


def check(database: Database, fleet: Fleet, principal: Principal, name: str) -> Health:
    """Ask a platform now what it offers, and store it. Raises Forbidden, NoSuchPlatform, Conflict for one of another
    host; one that does not answer is not available, and says why."""
    principal.need(Scope.ADMIN)
    fleet.forget()
    entry = fleet.entries().get(name)
    if entry is None:
        with database.read() as tx:
            platforms.one(tx, name)
        where = "another host" if not of_this_host(name) else "no process that serves"
        raise Conflict(f"The platform {name} belongs to {where}; it is checked there.")
    health = asked(database, fleet, name)
    with database.write() as tx:
        if health.available:
            pace.answers(tx, name)  # whatever was found out before
        platforms.checked(tx, name, entry.adapter, _position(fleet, name), health, entry.terms)
        audit.record(tx, audit.entry(principal, "check-platform", f"platform/{name}", available=health.available))
    return health


def trial(database: Database, fleet: Mapping[str, Platform], name: str) -> dict[str, Any]:
    """What tries a platform end to end: a package, or a process that is here.

    Raises InputError where nothing is known to run, PlatformUnavailable, PlatformRefused.
    """
    platform = fleet[name]
    if isinstance(platform, Proving):
        with within(database, name):
            found = platform.trial()
        if found is None:
            why = "It takes no packages, and none of its processes says with which inputs it runs"
            raise InputError(InputProblem("", f"{name} answers. {why}: {NAME_ONE}"))
        return {"package": found.package, "mediaType": found.media_type, "inputs": dict(found.inputs)}
    return {"process": "echo", "inputs": {"message": f"{name} runs jobs."}}


def _position(fleet: Fleet, name: str) -> int:
    return list(fleet.entries()).index(name)


def asked(database: Database, fleet: Mapping[str, Platform], name: str) -> Health:
    """What a platform says; one elsewhere that does not answer, and any that fails, still has what it offered when it
    last did, so that jobs wait for it."""
    try:
        platform = fleet[name]
        with within(database, name):
            health = platform.check()
        if health.available or isinstance(platform, Near):
            return health
        offer, message = health.capabilities, health.message
    except BrokerError as error:
        offer, message = UNKNOWN, str(error)
    except Exception as error:  # the boundary of one platform: the others are still checked
        log.exception("the check of %s failed", name)
        offer, message = UNKNOWN, f"Its check failed in a way that nobody foresaw ({type(error).__name__})."
    with database.read() as tx:
        known = {candidate.name: candidate.capabilities for candidate in platforms.candidates(tx)}
    return Health(False, known.get(name, offer), message)
