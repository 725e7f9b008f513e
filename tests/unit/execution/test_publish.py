"""The life of a publication against real targets, killed between each effect and its receipt: nothing comes twice."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from broker.access.credential import Kind, Secret
from broker.egress import Egress, EgressPolicy
from broker.execution import publish
from broker.jobs.publication import State
from broker.results.osc import HOME
from broker.store import publicationclaims
from broker.store.database import Database
from broker.store.publications import Publication
from tests.peers.github import GitHubPeer
from tests.peers.osc import bare, run
from tests.peers.prr import PrrPeer, prr_peer
from tests.peers.s3 import ACCESS_KEY, SECRET_KEY
from tests.peers.web import WebPeer
from tests.unit.execution.press import ADA, Press

ELSEWHERE: dict[str, Any] = {
    "access": [{"href": "https://data.example/points"}],
    "extent": {"bbox": [10, 50, 11, 51], "interval": ["2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z"]},
    "workflow": {"id": "points"},
}
NOTHING_SENT: dict[str, Any] = {"job_order": {"count": 2}, "stage": ()}
OSC = "esa/open-science-catalog-metadata"
Made = Callable[..., Press]


@pytest.fixture(scope="module")
def server() -> Iterator[PrrPeer]:
    with prr_peer() as peer:
        yield peer


@pytest.fixture
def prr(server: PrrPeer) -> PrrPeer:
    server.requests.clear()
    server.collection("points")
    server.lag = False
    server.empty()
    return server


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    return Path(bare(tmp_path / "osc.git"))


@pytest.fixture
def press(database: Database, tmp_path: Path) -> Iterator[Made]:
    with Egress(EgressPolicy(schemes=frozenset({"http"}), allow_networks=("127.0.0.0/8",))) as egress:
        yield lambda targets, *secrets, **more: Press(database, tmp_path, egress, targets, secrets, **more)


def of_prr(peer: PrrPeer, **more: Any) -> dict[str, Any]:
    rest = {"reg_api": f"{peer.url}/reg-api", "stac": f"{peer.url}/stac", "s3_endpoint": peer.s3.endpoint}
    return {"kind": "prr", "collection": "points", **rest, **more}


def key_of(peer: PrrPeer) -> Secret:
    return Secret(Kind.PRR, peer.url, {"username": ACCESS_KEY, "password": SECRET_KEY})


def of_github(peer: GitHubPeer, **more: Any) -> dict[str, Any]:
    return {"kind": "github", "repository": OSC, "api": peer.api, "remote": str(peer.place(OSC)), **more}


def token_of(peer: GitHubPeer) -> Secret:
    return Secret(Kind.GITHUB, f"https://github.com/{OSC}", {"token": peer.token})


def receipt_of(found: Publication) -> dict[str, Any]:
    assert found.receipt is not None
    return dict(found.receipt)


def branches(remote: Path) -> list[str]:
    return run(remote, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/broker").split()


def merge(remote: Path, branch: str) -> None:
    run(remote, "update-ref", "refs/heads/main", branch)
    run(remote, "update-ref", "-d", f"refs/heads/{branch}")


def test_a_job_goes_to_the_repository_and_then_to_the_catalog(press: Made, prr: PrrPeer, remote: Path) -> None:
    world = press({"prr": of_prr(prr), "osc": {"kind": "git", "remote": str(remote), "home": prr.url}}, key_of(prr))
    job = world.job()
    items, records = world.ask(job, target=["osc", "prr"])
    assert (items.target, items.state, records.state) == ("prr", State.PENDING, State.WAITING)
    done = world.until(items, State.PUBLISHED)
    assert world.held(job) == [f"the publication {records.id}"]
    found = prr.items["points", f"points-{job.id}"]
    assets = found["assets"]
    assert set(assets) == {
        "points", "package", "input", "environment", "outputs", "log", "provenance", "crate", "input-seeds.txt",
    }  # fmt: skip
    proposed = world.until(records, State.PROPOSED)
    (branch,) = branches(remote)
    assert branch == f"broker/{records.id}"
    assert run(remote, "rev-list", "--count", f"main..{branch}").strip() == "1"
    order = run(remote, "show", f"{branch}:experiments/points-{job.id}/input.yaml")
    (item,) = receipt_of(done)["items"].values()
    assert item["assets"]["input-seeds.txt"]["href"] in order
    assert "upload:" not in order
    merge(remote, branch)
    assert receipt_of(world.until(proposed, State.MERGED))["merge"]
    assert world.held(job) == []


def test_live_is_what_readers_find(press: Made, remote: Path) -> None:
    with WebPeer() as web:
        world = press({"osc": {"kind": "git", "remote": str(remote), "home": web.url("/osc/")}})
        (made,) = world.ask(world.job(**NOTHING_SENT), target="osc", **ELSEWHERE)
        proposed = world.until(made, State.PROPOSED)
        merge(remote, receipt_of(proposed)["branch"])
        world.until(made, State.MERGED)
        world.later()
        world.turn()
        assert world.get(made).state is State.MERGED, "nobody finds it yet"
        for url in itertools.chain(*receipt_of(proposed)["records"].values()):
            web.serve("/osc/" + url.removeprefix(HOME), "{}")
        live = world.until(made, State.LIVE)
        assert len(receipt_of(live)["live"]) == 3
        assert [state for state, _ in world.said(made)] == ["pending", "proposed", "merged", "live"]


# ---- killed


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whoever does a step dies before it is written down, and only its second time is: the states so lost."""
    save = publicationclaims.save
    lost: list[str] = []

    def dying(tx: Connection, taken: Publication, state: State, **named: Any) -> Publication:
        if not lost or lost[-1] != f"{taken.fence - 1}":
            lost.append(f"{taken.fence}")
            raise Killed
        return save(tx, taken, state, **named)

    monkeypatch.setattr(publicationclaims, "save", dying)
    return lost


def lived(world: Press, made: Publication, *ends: State) -> Publication:
    """To the end, whoever dies on the way."""
    while True:
        with contextlib.suppress(Killed):
            return world.until(made, *ends)


def test_each_step_is_done_twice_and_it_is_in_the_repository_once(press: Made, prr: PrrPeer, killed: list[str]) -> None:
    world = press({"prr": of_prr(prr)}, key_of(prr))
    job = world.job()
    (made,) = world.ask(job, target="prr")
    prr.requests.clear()
    lived(world, made, State.PUBLISHED)
    assert len(killed) > 15, "a step for each file that is sent and each that is looked at, and some more"
    assert list(prr.items) == [("points", f"points-{job.id}")]
    assert prr.posts() == 1
    assert world.held(job) == []
    states = [state for state, _ in world.said(made)]
    assert (states[0], states[-1], states.count("published")) == ("pending", "published", 1)


def test_each_step_is_done_twice_and_it_is_one_commit(press: Made, remote: Path, killed: list[str]) -> None:
    world = press({"osc": {"kind": "git", "remote": str(remote)}})
    (made,) = world.ask(world.job(**NOTHING_SENT), target="osc", **ELSEWHERE)
    proposed = lived(world, made, State.PROPOSED)
    (branch,) = branches(remote)
    assert run(remote, "rev-list", "--count", f"main..{branch}").strip() == "1"
    merge(remote, branch)
    lived(world, proposed, State.MERGED)
    assert len(killed) == 2
    assert run(remote, "rev-list", "--count", "main").strip() == "2"


def test_each_step_is_done_twice_and_it_is_one_pull_request(press: Made, tmp_path: Path, killed: list[str]) -> None:
    with GitHubPeer(tmp_path / "hub", OSC) as github:
        world = press({"osc": of_github(github)}, token_of(github))
        (made,) = world.ask(world.job(**NOTHING_SENT), target="osc", **ELSEWHERE)
        proposed = lived(world, made, State.PROPOSED)
        assert len(github.pulls) == 1
        assert len(killed) >= 3, "fork, commit, propose"
        github.checks = [{"name": "validate", "status": "completed", "conclusion": "failure", "html_url": "https://x"}]
        for _ in range(2):
            world.later()
            with contextlib.suppress(Killed):
                world.turn()
        assert "Its checks fail: validate." in world.get(proposed).message


# ---- what does not answer, and what is refused


def test_a_target_that_does_not_answer_is_asked_again_later(press: Made, prr: PrrPeer) -> None:
    world = press({"prr": of_prr(prr)}, key_of(prr))
    (made,) = world.ask(world.job(), target="prr")
    world.turn()
    prr.lag = True  # the repository registers, and does not move the files
    for _ in range(40):
        world.later()
        world.turn()
    waiting = world.get(made)
    assert waiting.state is State.SENDING
    assert waiting.message.startswith("It is tried again later: The item")
    assert waiting.tries > 2
    with world.database.write() as tx:
        assert publicationclaims.claim(tx, 1) == [], "not before its time"
    prr.lag = False
    prr.move()
    assert world.until(made, State.PUBLISHED).tries == 0


def test_what_is_refused_fails_says_why_and_can_be_tried_again(press: Made, prr: PrrPeer) -> None:
    world = press({"prr": of_prr(prr)}, key_of(prr))
    job = world.job()
    (made,) = world.ask(job, target="prr")
    world.turn()
    prr.items["points", f"points-{job.id}"] = {"id": f"points-{job.id}", "assets": {"other": {"href": "x"}}}
    failed = world.until(made, State.FAILED)
    assert "has another item" in failed.message
    assert "publish under another id" in failed.message
    assert world.held(job) == [], "who may delete the results"
    del prr.items["points", f"points-{job.id}"]
    again = publish.retry(world.desk, ADA, made.id)
    assert (again.state, world.held(job)) == (State.PENDING, [f"the publication {made.id}"])
    assert world.until(made, State.PUBLISHED)


def test_what_waits_for_one_that_fails_says_so_and_goes_on_after_it(press: Made, prr: PrrPeer, remote: Path) -> None:
    world = press({"prr": of_prr(prr), "osc": {"kind": "git", "remote": str(remote)}}, key_of(prr))
    job = world.job()
    items, records = world.ask(job, target=["prr", "osc"])
    prr.items["points", f"points-{job.id}"] = {"id": f"points-{job.id}", "assets": {}}
    world.until(items, State.FAILED)
    assert world.get(records).message == f"It waits for {items.id}, which failed: try that again."
    publish.withdraw(world.desk, ADA, items.id)
    lost = world.get(records)
    assert (lost.state, lost.message) == (
        State.FAILED, f"The publication {items.id} that it builds on was withdrawn."
    )  # fmt: skip
    assert world.held(job) == []
    assert branches(remote) == []
