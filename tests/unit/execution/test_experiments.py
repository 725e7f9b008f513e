"""Experiments of a configured catalog: found there once, and known for a moment to who found them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from broker.access.principal import Principal, Scope
from broker.access.vault import KeyFile, Vault
from broker.egress import Egress
from broker.errors import InputError, StagingError, TargetRefused, TargetUnavailable
from broker.execution.experiments import RECENT, Recent, Sources, _reader, resolved
from broker.execution.images import Images
from broker.execution.publishers import Publishers
from broker.execution.quotas import Ledger
from broker.results.catalogplan import plan
from broker.results.configuration import Publishing
from broker.results.osc import HOME
from broker.results.tree import Files
from broker.store.database import Database
from tests.peers.osc import bare, catalog
from tests.unit.results.samples import JOB, a_request, published

ADA, BOB = (Principal(name, name, frozenset({Scope.READ, Scope.RUN})) for name in ("ada", "bob"))
NAME = f"water-bodies-{JOB}"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sources(database: Database, tmp_path: Path, clock: Clock) -> Iterator[Sources]:
    """A test catalog at `tmp_path / "osc.git"` with an experiment of ours and a broken one; the other has none."""
    ours = plan(Files(catalog()), a_request(), published(entry="water.cwl#main")).files
    broken = {f"experiments/broken/{name}": ours[f"experiments/{NAME}/{name}"] for name in ("record.json",)}
    remote = bare(tmp_path / "osc.git", {**catalog(), **ours, **broken})
    empty = bare(tmp_path / "empty.git", catalog())
    test = {"kind": "git", "remote": remote, "home": "https://test.example.org/", "test": True}
    given = Publishing.model_validate({"targets": {"osc": {"kind": "git", "remote": empty}, "test": test}})
    vault = Vault(KeyFile(tmp_path / "secrets.key"))
    with Egress() as egress:
        publishers = Publishers(given, database, vault, egress, Ledger(database))
        images = Images((), (), False, egress, database, vault)
        yield Sources(database, egress, lambda: publishers, _unread, images, Recent(clock))


def _unread(body: bytes, media_type: str, process: str | None) -> NoReturn:
    raise AssertionError("nobody deploys here")


def test_it_is_known_for_a_moment_to_who_found_it(sources: Sources, tmp_path: Path, clock: Clock) -> None:
    first = resolved(sources, ADA, NAME, {})
    (tmp_path / "osc.git").rename(tmp_path / "gone.git")
    assert resolved(sources, ADA, NAME, {}) is first
    with pytest.raises((TargetRefused, TargetUnavailable)):
        resolved(sources, BOB, NAME, {})
    clock.now = RECENT
    with pytest.raises((TargetRefused, TargetUnavailable)):
        resolved(sources, ADA, NAME, {})


def test_what_is_not_there_or_cannot_be_run_is_looked_up_again(sources: Sources, tmp_path: Path) -> None:
    assert any(remark.level == "error" for remark in resolved(sources, ADA, "broken", {}).remarks)
    with pytest.raises(InputError):
        resolved(sources, ADA, "none", {})
    (tmp_path / "osc.git").rename(tmp_path / "gone.git")
    for name in ("broken", "none"):
        with pytest.raises((TargetRefused, TargetUnavailable)):
            resolved(sources, ADA, name, {})


def test_links_of_records_lead_to_the_catalog_that_has_them(sources: Sources) -> None:
    path = f"experiments/{NAME}/record.json"
    for home in (HOME, "https://test.example.org/"):
        assert resolved(sources, ADA, home + path, {}).name == NAME
    with pytest.raises(InputError):
        resolved(sources, ADA, f"{HOME}experiments/none/record.json", {})


def test_what_belongs_to_an_experiment_has_to_come_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.execution.experiments.SECONDS", -1.0)
    with Egress() as egress, pytest.raises(StagingError, match="did not come within"):
        _reader(Files({}), egress)("https://slow.example/record.json", 100)
