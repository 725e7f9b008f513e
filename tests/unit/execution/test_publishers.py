"""The targets that an operator offers: what they need before anything is sent, what they know, and who agrees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from broker.access.credential import Kind, Secret
from broker.access.principal import LOCAL, Part, Principal, Scope
from broker.access.vault import KeyFile, Vault
from broker.egress import Egress, EgressPolicy
from broker.errors import InputError, TargetRefused
from broker.execution import credentials
from broker.execution.publishers import Publishers
from broker.execution.quotas import Ledger
from broker.results.catalog import ENDS
from broker.results.catalogplan import Plan, plan
from broker.results.configuration import Publishing
from broker.results.github import GitHubTarget
from broker.results.tree import Tree
from broker.store import projects, publishing
from broker.store.database import Database
from broker.store.publishing import ProjectPublishing
from tests.peers.github import GitHubPeer
from tests.peers.osc import bare
from tests.peers.prr import PrrPeer, prr_peer
from tests.peers.s3 import ACCESS_KEY, SECRET_KEY
from tests.unit.results.samples import a_request, published

OSC = "esa/open-science-catalog-metadata"
ADA = Principal("ada", "ada", frozenset({Scope.READ, Scope.RUN, Scope.PUBLISH}))
Office = Callable[..., Publishers]


@pytest.fixture
def office(database: Database, tmp_path: Path) -> Iterator[Office]:
    """Makes publishers for settings and for what ada keeps."""
    vault = Vault(KeyFile(tmp_path / "secrets.key"))
    with Egress(EgressPolicy(schemes=frozenset({"http"}), allow_networks=("127.0.0.0/8",))) as egress:

        def make(targets: dict[str, Any], *secrets: Secret, **more: Any) -> Publishers:
            for secret in secrets:
                credentials.keep(database, vault, ADA, secret.kind.value, secret)
            return Publishers(
                Publishing.model_validate({"targets": targets, **more}), database, vault, egress, Ledger(database)
            )

        yield make


@pytest.fixture(scope="module")
def prr() -> Iterator[PrrPeer]:
    with prr_peer() as peer:
        peer.collection("lakes")
        yield peer


def a_prr(peer: PrrPeer, **more: Any) -> dict[str, Any]:
    rest = {"reg_api": f"{peer.url}/reg-api", "stac": f"{peer.url}/stac", "s3_endpoint": peer.s3.endpoint}
    return {"kind": "prr", "title": "The PRR", **rest, **more}


def of_prr(peer: PrrPeer, password: str = SECRET_KEY) -> Secret:
    return Secret(Kind.PRR, peer.url, {"username": ACCESS_KEY, "password": password})


def make(tree: Tree) -> Plan:
    return plan(tree, a_request(), published())


# ---- settings


@pytest.mark.parametrize(
    ("targets", "why"),
    [
        ({"a": {"kind": "git", "remote": "/x", "test": True, "promotes_to": "b"}}, "which is no target"),
        (
            {"a": {"kind": "git", "remote": "/x", "promotes_to": "b"}, "b": {"kind": "git", "remote": "/y"}},
            "only a test",
        ),
        (
            {
                "a": {"kind": "git", "remote": "/x", "test": True, "promotes_to": "b"},
                "b": {"kind": "bundle", "remote": "/y"},
            },
            "only a test",
        ),
        ({"a": {"kind": "git", "remote": "--upload-pack=evil"}}, "pattern"),
        (
            {"a": {"kind": "prr", "reg_api": "https://u:p@host/", "stac": "https://h", "s3_endpoint": "https://h"}},
            "pattern",
        ),
        ({"a": {"kind": "zenodo"}}, "zenodo"),
    ],
)
def test_settings_that_cannot_be(targets: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Publishing.model_validate({"targets": targets})


def test_what_is_offered(office: Office) -> None:
    test = {
        "kind": "github",
        "repository": f"{OSC}-testing",
        "test": True,
        "promotes_to": "osc",
        "home": "https://t.example/",
    }
    offices = office({"test": test, "osc": {"kind": "github", "repository": OSC, "approval": True}})
    first, second = offices.offered()
    assert (first.name, first.test, first.promotes_to, first.home) == ("test", True, "osc", "https://t.example/")
    assert (second.title, second.approval, second.repository) == ("osc", True, False)
    with pytest.raises(InputError, match="there is no target 'prr'; there are test, osc"):
        offices.offer("prr")
    with pytest.raises(InputError, match="osc takes records"):
        offices.repository("osc", "ada", "ada", "lakes")


# ---- what is missing


def test_a_repository_without_and_with_its_credential(office: Office, prr: PrrPeer) -> None:
    offices = office({"prr": a_prr(prr)})
    lacking = offices.prerequisites("prr", "ada", "ada", "lakes")
    assert [(one.level, one.field, one.grants) for one in lacking] == [("error", "credential", "earth-code@esa.int")]
    assert f"broker credential add prr prr {prr.url} --username NAME" in lacking[0].message
    office({}, of_prr(prr))
    assert [finding.field for finding in offices.prerequisites("prr", "ada", "ada")] == ["collection"]
    assert offices.prerequisites("prr", "ada", "ada", "lakes") == []
    assert [one.field for one in offices.prerequisites("prr", "ada", "ada", "rivers")] == ["collection"]
    assert offices.prerequisites("prr", "bob", "bob", "lakes") != []  # it is ada's


def test_a_wrong_password_is_said_by_the_repository(office: Office, prr: PrrPeer) -> None:
    offices = office({"prr": a_prr(prr, collection="lakes")}, of_prr(prr, "wrong"))
    found = {one.field: one.message for one in offices.prerequisites("prr", "ada", "ada")}
    assert "401" in found["collection"]
    assert "bucket" in found
    assert "wrong" not in str(found)


def test_a_token_is_not_enough_for_staging(office: Office, prr: PrrPeer) -> None:
    offices = office({"prr": a_prr(prr)}, Secret(Kind.PRR, prr.url, {"token": "t"}))
    with pytest.raises(TargetRefused, match="a user name and a password"):
        offices.repository("prr", "ada", "ada", "lakes")


def test_who_does_not_answer_is_a_warning(office: Office, prr: PrrPeer) -> None:
    silent = {"reg_api": "http://127.0.0.1:9/", "stac": "http://127.0.0.1:9/"}
    secret = Secret(Kind.PRR, "http://127.0.0.1:9", {"username": "ada", "password": "p"})
    offices = office({"prr": a_prr(prr, **silent)}, secret)
    assert [one.level for one in offices.prerequisites("prr", "ada", "ada", "lakes")] == ["warning"]


# ---- catalogs


def test_a_catalog_on_github_is_read_by_all_and_written_with_a_token(office: Office, tmp_path: Path) -> None:
    with GitHubPeer(tmp_path, OSC) as github:
        place = {"repository": OSC, "api": github.api, "remote": str(github.place(OSC))}
        offices = office({"osc": {"kind": "github", **place}})
        assert offices.catalog("osc", "ada", "ada", reading=True).plan(make).files
        with pytest.raises(TargetRefused, match=f"no credential for osc .https://github.com/{OSC}.*github {OSC}"):
            offices.catalog("osc", "ada", "ada")
        secret = Secret(Kind.GITHUB, f"https://github.com/{OSC}", {"token": github.token})
        office({}, secret)
        assert offices.prerequisites("osc", "ada", "ada") == []
        target, receipt = offices.catalog("osc", "ada", "ada"), None
        assert isinstance(target, GitHubTarget)
        while receipt is None or receipt["state"] not in ENDS:
            receipt = target.step(make, receipt)
        assert receipt["state"] == "proposed"
        office({}, Secret(secret.kind, secret.target, {"token": "expired"}))
        assert [one.field for one in offices.prerequisites("osc", "ada", "ada")] == ["credential"]


def test_what_a_catalog_knows_is_kept_some_minutes(office: Office, tmp_path: Path) -> None:
    remote = bare(tmp_path / "osc.git")
    offices = office({"osc": {"kind": "git", "remote": remote}})
    known = offices.vocabulary("osc", "ada", "ada")
    assert known.themes["land"] == "Land"
    assert list(known.projects.values()) == sorted(known.projects.values(), key=str.casefold)
    assert {"fairsendd"} <= set(known.projects)
    assert known.variables
    assert known.missions
    assert "Apache-2.0" in known.licences
    Path(remote).rename(tmp_path / "gone.git")
    assert offices.vocabulary("osc", "ada", "ada") is known
    with pytest.raises(TargetRefused):
        office({"osc": {"kind": "git", "remote": remote}}).vocabulary("osc", "ada", "ada")
    with pytest.raises(InputError, match="items, not records"):
        office({"api": {"kind": "stac-api", "address": "https://s.example"}}).vocabulary("api", "ada", "ada")


# ---- who agrees


def test_who_may_agree(office: Office, database: Database) -> None:
    offices = office({}, defaults={"licence": "CC-BY-4.0", "region": "Alps"})
    bob, carol, root = (Principal(name, "lab", frozenset({Scope.READ})) for name in ("bob", "carol", "root"))
    operator = Principal("root", "root", frozenset(Scope))

    def agreeing() -> list[str]:
        with database.read() as tx:
            return [one.owner for one in (ADA, bob, carol, root) if offices.may_approve(tx, one, "ada", "lab")]

    assert agreeing() == []
    with database.write() as tx:
        projects.create(tx, "lab", "The lab", "ada")
        projects.put(tx, "lab", "bob", Part.MAINTAINER)
        projects.put(tx, "lab", "carol", Part.VIEWER)
    assert agreeing() == ["bob"]  # a maintainer, and not the one who asks
    with database.write() as tx:
        publishing.put(tx, "lab", ProjectPublishing({"licence": "MIT"}, ("carol", "ada", "stranger")))
    assert agreeing() == ["carol"]
    assert offices.defaults("lab") == {"licence": "MIT", "region": "Alps"}
    assert offices.defaults("ada") == {"licence": "CC-BY-4.0", "region": "Alps"}
    with database.read() as tx:
        assert offices.may_approve(tx, operator, "ada", "lab")
        assert offices.may_approve(tx, LOCAL, LOCAL.owner, LOCAL.project)  # there is nobody else
        assert not offices.may_approve(tx, ADA, LOCAL.owner, LOCAL.project)
    with database.write() as tx:
        projects.take_out(tx, "lab", "carol")
    assert agreeing() == []  # an officer who has left; that the maintainers take over is for the operator to say


def test_a_project_that_is_gone_leaves_no_defaults(office: Office, database: Database) -> None:
    with database.write() as tx:
        projects.create(tx, "lab", "The lab", "ada")
        publishing.put(tx, "lab", ProjectPublishing({"licence": "MIT"}, ()))
        projects.remove(tx, "lab")
    assert office({}).defaults("lab") == {}
