"""The fleet: platforms of the settings, and those that are added, changed and removed while the broker runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from broker.access.principal import Principal, Scope
from broker.access.vault import KeyFile, Vault
from broker.errors import Conflict, Forbidden, InputError, NoSuchPlatform, PlatformUnavailable, SetupError
from broker.execution import credentials, operate
from broker.execution.fleet import Fleet
from broker.jobs.model import Capabilities
from broker.platform import Health
from broker.store import platformconfigs, platforms
from broker.store.database import Database
from tests.peers.scripted import ScriptedPlatform
from tests.unit.store.rows import job_row

ROOT = Principal("root", "root", frozenset(Scope))
SECRET = {"url": "https://far.example", "client_secret": "s3cret", "terms": {"core_hour": 2.0}}


@dataclass
class Made(ScriptedPlatform):
    options: Mapping[str, Any] = field(default_factory=dict)
    answers: bool = True
    silence: Health | None = None  # when it does not answer; None: it raises

    def check(self) -> Health:
        if not self.answers and self.silence is None:
            raise PlatformUnavailable("It is away.")
        return Health(True, Capabilities(cores=8.0)) if self.silence is None else self.silence


def make(name: str, kind: str, options: Mapping[str, Any]) -> Made:
    if kind == "none":
        raise NoSuchPlatform("There is no such kind.")
    if "wrong" in options:
        raise SetupError("wrong is no option.")
    return Made(name, options=options)


@dataclass
class Yard:
    database: Database
    vault: Vault
    fleet: Fleet

    def add(self, name: str = "far", adapter: str = "scripted", **options: Any) -> bool:
        return operate.add(self.database, self.vault, self.fleet, ROOT, name, adapter, options or SECRET)

    def other(self) -> Fleet:
        """That of another process."""
        return Fleet({"own": {"adapter": "scripted"}}, self.database, lambda: self.vault, make)


@pytest.fixture
def yard(database: Database, tmp_path: Path) -> Yard:
    vault = Vault(KeyFile(tmp_path / "key"))
    return Yard(database, vault, Fleet({"own": {"adapter": "scripted"}}, database, lambda: vault, make))


def test_what_is_added_is_there_for_all_and_its_options_are_sealed(yard: Yard) -> None:
    assert list(yard.other()) == ["own"]
    assert yard.add()
    assert not yard.add()  # configured anew
    for fleet in (yard.fleet, yard.other()):
        assert list(fleet) == ["own", "far"]
        found = fleet["far"]
        assert isinstance(found, Made)
        assert found.options == {"url": "https://far.example", "client_secret": "s3cret"}
        assert fleet["far"] is found
        assert fleet.entries()["far"].terms.core_hour == 2.0
    with yard.database.read() as tx:
        [kept] = platformconfigs.every(tx)
    assert kept.options == {"terms": {"core_hour": 2.0}}
    assert b"s3cret" not in (kept.sealed or b"")


def test_one_that_changed_is_made_again(yard: Yard) -> None:
    yard.add()
    before = yard.fleet["far"]
    own = yard.fleet["own"]
    yard.add(url="https://elsewhere.example")
    after = yard.fleet["far"]
    assert isinstance(after, Made)
    assert after is not before
    assert after.options == {"url": "https://elsewhere.example"}
    assert yard.fleet["own"] is own


def test_what_was_sealed_opens_after_a_change_of_the_key(yard: Yard, tmp_path: Path) -> None:
    yard.add()
    keys = KeyFile(tmp_path / "key")
    keys.add()
    assert credentials.rotate(yard.database, yard.vault, ROOT) == 1
    keys.drop_old()
    found = yard.other()["far"]
    assert isinstance(found, Made)
    assert found.options["client_secret"] == "s3cret"


def test_what_cannot_be_is_refused_and_nothing_is_kept(yard: Yard) -> None:
    for name, adapter, options in (
        ("far", "none", {}),
        ("far", "scripted", {"wrong": 1}),
        ("Far away", "scripted", {}),
        ("far", "scripted", {"terms": {"colour": "red"}}),
    ):
        with pytest.raises(InputError):
            operate.add(yard.database, yard.vault, yard.fleet, ROOT, name, adapter, options)
    with pytest.raises(Conflict):
        yard.add("own")
    with pytest.raises(Forbidden):
        operate.add(
            yard.database, yard.vault, yard.fleet, Principal("a", "a", frozenset({Scope.RUN})), "far", "scripted", {}
        )
    assert list(yard.other()) == ["own"]


@pytest.mark.parametrize("says", [None, Health(False, Capabilities(kinds=frozenset()), "It is away.")])
def test_a_check_is_stored_and_one_that_is_silent_keeps_what_it_offered(yard: Yard, says: Health | None) -> None:
    yard.add()
    assert operate.check(yard.database, yard.fleet, ROOT, "far").available
    platform = yard.fleet["far"]
    assert isinstance(platform, Made)
    platform.answers, platform.silence = False, says
    assert not operate.check(yard.database, yard.fleet, ROOT, "far").available
    with yard.database.read() as tx:
        found = platforms.one(tx, "far")
    assert (found.available, found.capabilities.cores, found.terms.core_hour) == (False, 8.0, 2.0)
    with pytest.raises(NoSuchPlatform):
        operate.check(yard.database, yard.fleet, ROOT, "nowhere")


def test_one_with_jobs_is_not_removed(yard: Yard) -> None:
    yard.add()
    operate.check(yard.database, yard.fleet, ROOT, "far")
    job_row(yard.database, platform="far")
    with pytest.raises(Conflict, match="have something there: 1"):
        operate.remove(yard.database, yard.fleet, ROOT, "far")
    assert "far" in yard.fleet
