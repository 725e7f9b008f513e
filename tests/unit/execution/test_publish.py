"""The life of a publication against real targets, killed between each effect and its receipt: nothing comes twice."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from broker.access.credential import Kind, Secret
from broker.access.principal import Scope
from broker.egress import Egress, EgressPolicy
from broker.errors import Forbidden, Held, InputError, NoSuchJob, NoSuchPublication, ResultsGone, WrongPhase
from broker.execution import publish, publishbundle, retention
from broker.execution.publishrequest import Asked
from broker.execution.publishstep import step
from broker.jobs.model import Phase, StageItem
from broker.jobs.publication import State
from broker.results.gitrepository import GitRepository
from broker.results.osc import HOME
from broker.store import audit, publicationclaims, publications
from broker.store import jobs as store_jobs
from broker.store.database import Database
from broker.store.publications import Publication
from tests.peers.github import GitHubPeer
from tests.peers.osc import bare, run
from tests.peers.prr import PrrPeer, prr_peer
from tests.peers.s3 import ACCESS_KEY, SECRET_KEY
from tests.peers.web import WebPeer
from tests.unit.execution.press import ADA, BOB, OUTPUTS, PACKAGE, POINTS, REQUEST, ROOT, Press

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
    catalog = {"kind": "git", "remote": str(remote), "home": prr.url, "approval": True}
    world = press({"prr": of_prr(prr), "osc": catalog}, key_of(prr))
    directory = {"class": "Directory", "location": "inputs/tiles", "basename": "tiles"}
    order = {"seeds": {"class": "File", "location": "inputs/seeds.txt"}, "tiles": directory}
    sent = (
        StageItem("seeds.txt", text="7\n"),
        StageItem("tiles/a.txt", text="A"),
        StageItem("tiles/b/c.txt", text="C"),
    )
    job = world.job(job_order=order, stage=sent)
    items, records = world.ask(job, target=["osc", "prr"])
    records = publish.approve(world.desk, ROOT, records.id)  # before the repository has given addresses
    assert (items.target, items.state, records.state) == ("prr", State.PENDING, State.WAITING)
    done = world.until(items, State.PUBLISHED)
    assert world.held(job) == [f"the publication {records.id}"]
    found = prr.items["points", f"points-{job.id}"]
    assets = found["assets"]
    assert set(assets) == {
        "points", "package", "input", "environment", "outputs", "log", "provenance", "crate", "input-seeds.txt",
        "points-points-json", "input-tiles-a.txt", "input-tiles-b-c.txt",
    }  # fmt: skip
    proposed = world.until(records, State.PROPOSED)
    (branch,) = branches(remote)
    assert branch == f"broker/{records.id}"
    assert run(remote, "rev-list", "--count", f"main..{branch}").strip() == "1"
    written = run(remote, "show", f"{branch}:experiments/points-{job.id}/input.yaml")
    (item,) = receipt_of(done)["items"].values()
    for name in ("seeds.txt", "tiles-a.txt", "tiles-b-c.txt"):
        assert item["assets"][f"input-{name}"]["href"] in written
    assert "upload:" not in written
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


# ---- who agrees, and what is corrected


def test_nothing_leaves_before_somebody_else_agrees(press: Made, remote: Path) -> None:
    world = press({"osc": {"kind": "git", "remote": str(remote), "approval": True}})
    job = world.job(**NOTHING_SENT)
    (first,) = world.ask(job, target="osc", **ELSEWHERE)
    world.later()
    assert world.turn() == []
    for who in (ADA, BOB):
        with pytest.raises((Forbidden, NoSuchPublication)):
            publish.approve(world.desk, who, first.id)
    refused = publish.reject(world.desk, ROOT, first.id, "Not without a DOI.")
    assert (refused.state, refused.message) == (State.REJECTED, "It was refused: Not without a DOI.")
    (second,) = world.ask(job, target="osc", **ELSEWHERE)
    assert world.held(job) == [f"the publication {second.id}"]
    publish.approve(world.desk, ROOT, second.id)
    world.until(second, State.PROPOSED)
    assert branches(remote) == [f"broker/{second.id}"]
    with pytest.raises(WrongPhase):
        publish.approve(world.desk, ROOT, second.id)


def test_from_the_test_catalog_to_the_live_one(press: Made, tmp_path: Path, remote: Path) -> None:
    live = Path(bare(tmp_path / "live.git"))
    test = {"kind": "git", "remote": str(remote), "test": True, "promotes_to": "osc"}
    world = press({"test": test, "osc": {"kind": "git", "remote": str(live)}})
    (made,) = world.ask(world.job(**NOTHING_SENT), target="test", **ELSEWHERE)
    with pytest.raises(WrongPhase, match="once it is proposed"):
        publish.promote(world.desk, ADA, made.id)
    world.until(made, State.PROPOSED)
    promoted = publish.promote(world.desk, ADA, made.id)
    assert (promoted.target, promoted.promotes, promoted.jobs) == ("osc", made.id, made.jobs)
    world.until(promoted, State.PROPOSED)
    assert branches(live) == [f"broker/{promoted.id}"]
    with pytest.raises(WrongPhase, match="no test catalog"):
        publish.promote(world.desk, ADA, promoted.id)


def test_withdrawn_and_corrected(press: Made, remote: Path) -> None:
    world = press({"osc": {"kind": "git", "remote": str(remote)}})
    job = world.job(**NOTHING_SENT)
    (first,) = world.ask(job, target="osc", **ELSEWHERE)
    branch = receipt_of(world.until(first, State.PROPOSED))["branch"]
    assert publish.withdraw(world.desk, ADA, first.id).withdraw
    world.until(first, State.WITHDRAWN)
    assert (branches(remote), world.held(job)) == ([], [])
    (second,) = world.ask(job, target="osc", **ELSEWHERE)
    branch = receipt_of(world.until(second, State.PROPOSED))["branch"]
    merge(remote, branch)
    world.until(second, State.MERGED)
    with pytest.raises(WrongPhase, match="Publish a correction"):
        publish.withdraw(world.desk, ADA, second.id)
    with pytest.raises(InputError, match="choose another id, or name the publication"):
        world.ask(job, target="osc", title="Points, corrected", **ELSEWHERE)
    (third,) = world.ask(job, target="osc", title="Points, corrected", previous=second.id, **ELSEWHERE)
    assert third.previous == second.id
    assert f"Corrects: {second.id}" in run(remote, "log", "-1", "--format=%B", receipt_of(
        world.until(third, State.PROPOSED))["branch"])  # fmt: skip
    with pytest.raises(InputError, match="There is no publication"):
        world.ask(job, target="osc", previous="made-up", **ELSEWHERE)


def test_one_at_a_time(press: Made, remote: Path) -> None:
    """Asked for twice, a job is proposed once; also where both looked before either was kept."""
    world = press({"osc": {"kind": "git", "remote": str(remote)}})
    job = world.job(**NOTHING_SENT)
    asked = Asked.of({**REQUEST, **ELSEWHERE, "jobs": [job.id], "target": "osc"})
    drafted = publish.check(world.desk, ADA, asked)
    (first,) = publish.request(world.desk, ADA, asked)
    with pytest.raises(InputError, match=f"osc is getting the job {job.id} already: .* withdraw it"):
        publish.request(world.desk, ADA, asked)
    with pytest.raises(InputError, match="already"), world.database.write() as tx:
        publish._made(tx, ADA, drafted, drafted.targets[0], None)
    world.until(first, State.PROPOSED)
    assert [one.level for one in publish.check(world.desk, ADA, asked).findings if one.field == "target"] == ["error"]
    publish.withdraw(world.desk, ADA, first.id)
    world.until(first, State.WITHDRAWN)
    (second,) = publish.request(world.desk, ADA, asked)
    world.until(second, State.PROPOSED)
    assert branches(remote) == [f"broker/{second.id}"]


def test_what_cannot_be_taken_back_stays_as_it_is(press: Made, tmp_path: Path) -> None:
    """Merged between the wish and the look at it; and a failed one is not sent again by a wish to take it back."""
    with GitHubPeer(tmp_path / "hub", OSC) as github:
        world = press({"osc": of_github(github)}, token_of(github))
        (made,) = world.ask(world.job(**NOTHING_SENT), target="osc", **ELSEWHERE)
        world.until(made, State.PROPOSED)
        publish.withdraw(world.desk, ADA, made.id)
        github.merge(1)
        merged = world.until(made, State.MERGED)
        assert not merged.withdraw
        assert any(message.startswith("It cannot be taken back: It is merged") for _, message in world.said(made))


def test_a_target_that_is_gone_from_the_settings_ends_nothing_that_is_merged(press: Made, remote: Path) -> None:
    world = press({"osc": {"kind": "git", "remote": str(remote)}})
    (made,) = world.ask(world.job(**NOTHING_SENT), target="osc", **ELSEWHERE)
    merge(remote, receipt_of(world.until(made, State.PROPOSED))["branch"])
    world.until(made, State.MERGED)
    world.offering({"other": {"kind": "git", "remote": str(remote)}})
    world.later()
    (still,) = world.turn()
    assert (still.state, still.tries) == (State.MERGED, 0)
    assert "there is no target 'osc'" in still.message


def test_before_anything_has_left_it_is_taken_back_at_once(press: Made, prr: PrrPeer) -> None:
    world = press({"prr": of_prr(prr)}, key_of(prr))
    job = world.job()
    (made,) = world.ask(job, target="prr")
    assert publish.withdraw(world.desk, ADA, made.id).state is State.WITHDRAWN
    (again,) = world.ask(job, target="prr")
    world.until(again, State.PUBLISHED)
    with pytest.raises(WrongPhase, match="cannot be taken back"):
        publish.withdraw(world.desk, ADA, again.id)


# ---- other subjects


def test_a_process_alone_and_data_that_lies_elsewhere(press: Made, remote: Path) -> None:
    world = press({"osc": {"kind": "git", "remote": str(remote)}})
    (alone,) = world.ask(target="osc", process="points")
    receipt = receipt_of(world.until(alone, State.PROPOSED))
    assert list(receipt["records"]) == ["workflow"]
    assert run(remote, "show", f"{receipt['branch']}:workflows/points/package.cwl") == PACKAGE
    (data,) = world.ask(target="osc", **{**ELSEWHERE, "workflow": None})
    assert list(receipt_of(world.until(data, State.PROPOSED))["records"]) == ["product"]


def test_one_product_of_several_jobs(press: Made, prr: PrrPeer, remote: Path) -> None:
    world = press({"prr": of_prr(prr), "osc": {"kind": "git", "remote": str(remote)}}, key_of(prr))
    jobs = [world.job(), world.job()]
    items, records = world.ask(*jobs, target=["prr", "osc"])
    world.until(items, State.PUBLISHED)
    receipt = receipt_of(world.until(records, State.PROPOSED))
    assert {item for _, item in prr.items} == {f"points-{job.id}" for job in jobs}
    assert {kind: len(found) for kind, found in receipt["records"].items()} == {
        "workflow": 1, "experiment": 2, "product": 1,
    }  # fmt: skip
    for job in jobs:
        said = run(remote, "show", f"{receipt['branch']}:experiments/points-{job.id}/outputs.yaml")
        assert said.count("location: http") == 2  # the points, and the item as the package wrote it


def test_a_bundle_is_merged_when_the_catalog_has_it(press: Made, remote: Path) -> None:
    world = press({"osc": {"kind": "bundle", "remote": str(remote)}})
    (made,) = world.ask(world.job(**NOTHING_SENT), target="osc", **ELSEWHERE)
    world.until(made, State.PROPOSED)
    name, body = publishbundle.bundle(world.desk, ADA, made.id)
    assert name == f"osc-{made.id}.zip"
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        changed = {path: archive.read(path) for path in archive.namelist()}
    assert changed.pop("changes.diff").decode() == publishbundle.diff(world.desk, ADA, made.id)
    del changed["message.txt"]
    with GitRepository(str(remote)) as git:
        parent = git.fetch("main")
        commit = git.commit(parent, changed, "by hand", ("B", "b@example.org"), "2026-11-22T09:00:00+00:00")
        git.push(commit, "main", parent)
    world.until(made, State.MERGED)


# ---- as soon as the job has ended


@pytest.mark.parametrize("phase", [Phase.SUCCESSFUL, Phase.FAILED])
def test_a_job_is_published_as_soon_as_it_ends_well(press: Made, remote: Path, phase: Phase) -> None:
    world = press({"osc": {"kind": "git", "remote": str(remote)}})
    asked = {"target": "osc", **REQUEST, **ELSEWHERE}
    wish = publish.promised(world.desk, ADA, Asked.of(asked))
    with pytest.raises(InputError, match="There is no publication"):
        publish.promised(world.desk, ADA, Asked.of({**asked, "previous": "made-up"}))
    job = world.waiting(request={"publish": wish}, **NOTHING_SENT)
    world.succeed(job, OUTPUTS, phase)
    with world.database.read() as tx:
        made = publications.page(tx, ADA.reach, limit=5, job_id=job.id)
        events = [event["event"] for event in store_jobs.events(tx, job.id)]
    if phase is Phase.SUCCESSFUL:
        proposed = world.until(made[0], State.PROPOSED)
        assert "contacts" in proposed.request, "what package and project say is filled in"
    else:
        assert made == []
        assert "not-published" in events


# ---- what is asked


def test_everything_that_is_missing_is_said_at_once(press: Made, prr: PrrPeer, remote: Path) -> None:
    world = press({"prr": of_prr(prr), "osc": {"kind": "git", "remote": str(remote)}})
    job = world.job()
    found = publish.check(world.desk, ADA, Asked.of({"target": ["prr", "osc"], "themes": ["lnad"]}, job.id)).to_json()
    said = {(one["target"], one["field"]): one for one in found["findings"] if one["level"] == "error"}
    assert not found["ok"]
    assert said["prr", "credential"]["grants"] == "earth-code@esa.int"
    assert "near are land" in said["osc", "themes"]["message"] or "allowed are" in said["osc", "themes"]["message"]
    assert ("osc", "project") in said
    drafted = found["request"]
    assert (drafted["licence"], drafted["title"], drafted["keywords"]) == ("Apache-2.0", "Find points", ["points"])
    assert drafted["contacts"][0] == {"name": "Bo", "roles": ["author"]}
    assert drafted["extent"]["bbox"] == [10, 50, 11, 51]
    first, _ = found["targets"]
    assert [item["id"] for item in first["items"]] == [f"points-{job.id}"]
    assert all("source" not in one for one in first["files"])
    full = publish.check(world.desk, ADA, Asked.of({"target": ["prr", "osc"], **REQUEST}, job.id)).to_json()
    assert f"+++ b/experiments/points-{job.id}/record.json" in full["targets"][1]["diff"]
    with world.database.read() as tx:
        assert publications.page(tx, ADA.reach, limit=5) == [], "nothing is kept"
    with pytest.raises(InputError, match="/licnce: is not known; did you mean licence"):
        world.ask(job, target="osc", licnce="MIT")


def test_who_has_to_agree_sees_every_file_before_anything_leaves(press: Made, prr: PrrPeer) -> None:
    world = press({"prr": of_prr(prr, approval=True)}, key_of(prr))
    job = world.job()
    (made,) = world.ask(job, target="prr")
    told = publishbundle.diff(world.desk, ROOT, made.id)
    assert f"+ points-{job.id}/points.csv {len(POINTS)} bytes {hashlib.sha256(POINTS).hexdigest()}\n" in told
    assert f"+ points-{job.id}/run-crate.zip " in told
    assert prr.items == {}
    with pytest.raises(NoSuchPublication):
        publishbundle.diff(world.desk, BOB, made.id)


def test_a_collection_is_asked_for_with_a_bundle(press: Made, prr: PrrPeer) -> None:
    """The repository has no such collection yet: people make it from what they are sent."""
    world = press({"prr": of_prr(prr, collection="new")}, key_of(prr))
    job = world.job()
    more = {
        "project_description": "A test.", "project_website": "https://example.org", "initiative": "earthcode",
        "contract_number": "4000", "parameters": ["water"], "thumbnail": {"href": "https://example.org/a.png"},
        "contacts": [{"name": "O", "email": "o@example.org", "roles": ["technical_officer"]}],
    }  # fmt: skip
    asked = Asked.of({"target": "prr", **REQUEST, **more}, job.id)
    (missing,) = publish.check(world.desk, ADA, asked).errors
    assert missing.message == "The repository has no collection new."
    name, body = publishbundle.bundle_of(world.desk, ADA, asked)
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        made = json.loads(archive.read("collection.json"))
        assert "Cc: O <o@example.org>" in archive.read("LETTER.txt").decode()
        assert f"items/points-{job.id}.json" in archive.namelist()
    assert (name, made["id"], made["extent"]["spatial"]["bbox"]) == ("prr.zip", "new", [[10, 50, 11, 51]])
    with pytest.raises(InputError, match="contract_number is missing"):
        publishbundle.bundle_of(world.desk, ADA, Asked.of({"target": "prr", **REQUEST}, job.id))


def test_what_the_broker_did_is_in_the_audit(press: Made, remote: Path) -> None:
    world = press({"osc": {"kind": "git", "remote": str(remote)}})
    (made,) = world.ask(world.job(**NOTHING_SENT), target="osc", **ELSEWHERE)
    world.until(made, State.PROPOSED)
    with world.database.read() as tx:
        rows = [row for row in audit.page(tx) if row["subject"] == f"publication/{made.id}"]
    assert [(row["actor"], row["action"]) for row in rows] == [("ada", "publish"), ("ada", "publication-proposed")]


def test_only_ones_own_successful_jobs(press: Made, remote: Path) -> None:
    world = press({"osc": {"kind": "git", "remote": str(remote)}})
    job = world.job(**NOTHING_SENT)
    with pytest.raises(NoSuchJob):
        world.ask(job, who=BOB, target="osc", **ELSEWHERE)
    with pytest.raises(WrongPhase, match="only successful jobs"):
        world.ask(world.waiting(), target="osc")
    with pytest.raises(Forbidden, match="publish"):
        world.ask(job, who=replace(ADA, scopes=frozenset({Scope.READ, Scope.RUN})), target="osc")
    retention.delete_results(world.database, ADA, job.id)
    with pytest.raises(ResultsGone):
        world.ask(job, target="osc", **ELSEWHERE)


def test_what_was_done_on_a_claim_that_is_over_is_not_written(press: Made, remote: Path) -> None:
    """Somebody takes it back while a step of it is under way; and a lease that ended is another's."""
    world = press({"osc": {"kind": "git", "remote": str(remote)}})
    first, second = (world.ask(world.job(**NOTHING_SENT), target="osc", **ELSEWHERE)[0] for _ in range(2))
    with world.database.write() as tx:
        slow = publicationclaims.claim(tx, 2)
        assert publicationclaims.claim(tx, 2) == [], "they are held"
    assert publish.withdraw(world.desk, ADA, first.id).state is State.WITHDRAWN
    world.later()
    with world.database.write() as tx:
        (again,) = publicationclaims.claim(tx, 2)
        assert [publicationclaims.renew(tx, one) for one in (*slow, again)] == [False, False, True]
    assert [step(world.desk, one) for one in slow] == [None, None]
    assert (world.get(first).state, world.get(second).receipt) == (State.WITHDRAWN, None)
    done = step(world.desk, again)
    assert done is not None
    assert receipt_of(done)["commit"] == run(remote, "rev-parse", f"broker/{second.id}").strip()


def test_results_that_were_deleted_are_not_published(press: Made, prr: PrrPeer) -> None:
    world = press({"prr": of_prr(prr)}, key_of(prr))
    job = world.job()
    (made,) = world.ask(job, target="prr")
    prr.items["points", f"points-{job.id}"] = {"id": f"points-{job.id}", "assets": {}}
    world.until(made, State.FAILED)
    retention.delete_results(world.database, ADA, job.id)
    with pytest.raises(Held, match="were deleted"):
        publish.retry(world.desk, ADA, made.id)
    assert world.get(made).state is State.FAILED
