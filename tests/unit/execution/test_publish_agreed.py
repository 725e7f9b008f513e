"""Who agrees, agrees to what was shown, and people who decide at the same time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from broker.errors import BrokerError, TargetRefused, WrongPhase
from broker.execution import publish, publishbundle, publishstep
from broker.execution.publishrequest import Asked
from broker.jobs.publication import State
from broker.store import publications
from broker.store.publications import Publication
from broker.store.result_tables import publications as table
from tests.peers.osc import run
from tests.peers.prr import PrrPeer
from tests.unit.execution.press import ADA, OUTPUTS, REQUEST, ROOT, Press
from tests.unit.execution.test_publish import (
    ELSEWHERE,
    NOTHING_SENT,
    Made,
    branches,
    key_of,
    of_prr,
    press,
    prr,
    remote,
    server,
)

__all__ = ["press", "prr", "remote", "server"]


def of_git(remote: Path, **more: Any) -> dict[str, Any]:
    return {"kind": "git", "remote": str(remote), "approval": True, **more}


def rewrite(world: Press, one: Publication, **members: Any) -> None:
    """The request of a publication becomes another, as no verb makes it."""
    with world.database.write() as tx:
        request = {**publications.get(tx, one.id).request, **members}
        tx.execute(table.update().where(table.c.id == one.id).values(request=request))


def test_nothing_else_is_sent_than_what_somebody_agreed_to(press: Made, remote: Path) -> None:
    """Changed after the look: refused; changed after the agreement: nothing leaves, and somebody is asked again. What
    others do in the catalog meanwhile changes nothing."""
    world = press({"osc": of_git(remote)})
    (made,) = world.ask(world.job(**NOTHING_SENT), target="osc", **ELSEWHERE)
    text, digest = publishbundle.shown(world.desk, ROOT, made.id)
    assert "Points" in text
    rewrite(world, made, title="Ponds")
    with pytest.raises(WrongPhase, match="not what you were shown"):
        publish.approve(world.desk, ROOT, made.id, digest)
    text, digest = publishbundle.shown(world.desk, ROOT, made.id)
    assert "Ponds" in text
    assert publish.approve(world.desk, ROOT, made.id, digest).agreed == digest
    rewrite(world, made, title="Smuggled")
    again = world.until(made, State.AWAITING)
    assert "no longer what somebody agreed to" in again.message
    assert (again.agreed, branches(remote)) == (None, [])
    rewrite(world, made, title="Ponds")
    assert publishbundle.shown(world.desk, ROOT, made.id)[1] == digest
    publish.approve(world.desk, ROOT, made.id, digest)
    edited(remote)
    found = world.until(made, State.PROPOSED)
    assert branches(remote) == [f"broker/{made.id}"]
    assert publishbundle.shown(world.desk, ROOT, found.id)[1] is None


def edited(remote: Path) -> None:
    """Somebody else commits to the catalog."""
    tree = run(remote, "rev-parse", "main^{tree}").strip()
    name = ("-c", "user.name=x", "-c", "user.email=x@localhost")
    commit = run(remote, *name, "commit-tree", tree, "-p", "main", "-m", "Another").strip()
    run(remote, "update-ref", "refs/heads/main", commit)


def test_files_go_only_where_somebody_agreed_to(press: Made, prr: PrrPeer) -> None:
    world = press({"prr": of_prr(prr, approval=True)}, key_of(prr))
    (items,) = world.ask(world.job(), target="prr")
    text, digest = publishbundle.shown(world.desk, ROOT, items.id)
    assert "points.csv" in text
    publish.approve(world.desk, ROOT, items.id, digest)
    rewrite(world, items, collection="smuggled")
    assert world.until(items, State.AWAITING).plan is None
    assert not prr.items
    rewrite(world, items, collection="points")
    assert publishbundle.shown(world.desk, ROOT, items.id)[1] == digest


def test_settings_that_change_between_the_look_and_the_agreement(press: Made, remote: Path) -> None:
    targets = {"osc": of_git(remote)}
    world = press(targets)
    wish = publish.promised(world.desk, ADA, Asked.of({"target": "osc", **REQUEST, **ELSEWHERE}))
    job = world.succeed(world.waiting(request={"publish": wish}, **NOTHING_SENT), OUTPUTS)
    with world.database.read() as tx:
        (made,) = publications.page(tx, ADA.reach, limit=5, job_id=job.id)
    _, digest = publishbundle.shown(world.desk, ROOT, made.id)
    world.offering(targets, defaults={"browser": "https://smuggled.example"})
    with pytest.raises(WrongPhase, match="not what you were shown"):
        publish.approve(world.desk, ROOT, made.id, digest)


# ---- at the same time


def at_once(*acts: Callable[[], Publication]) -> list[Publication | BaseException]:
    """What comes of acts that begin together."""
    start = Barrier(len(acts))

    def do(act: Callable[[], Publication]) -> Publication | BaseException:
        start.wait(30)
        try:
            return act()
        except BrokerError as error:
            return error

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(do, acts))


def test_two_agree_at_once(press: Made, remote: Path) -> None:
    world = press({"osc": of_git(remote)})
    (made,) = world.ask(world.job(**NOTHING_SENT), target="osc", **ELSEWHERE)
    found = at_once(*[lambda: publish.approve(world.desk, ROOT, made.id)] * 2)
    assert sorted(type(one).__name__ for one in found) == ["Publication", "WrongPhase"], found
    assert [state for state, _ in world.said(made)].count("pending") == 1
    world.until(made, State.PROPOSED)
    assert branches(remote) == [f"broker/{made.id}"]


def test_tried_again_and_withdrawn_at_once(press: Made, remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is first: it ends withdrawn, and nothing of it is there."""
    world = press({"osc": {"kind": "git", "remote": str(remote)}})
    job = world.job(**NOTHING_SENT)
    (made,) = world.ask(job, target="osc", **ELSEWHERE)
    with monkeypatch.context() as patched:
        patched.setattr(publishstep, "_gone_on", refusing)
        world.until(made, State.FAILED)
    found = at_once(lambda: publish.retry(world.desk, ADA, made.id), lambda: publish.withdraw(world.desk, ADA, made.id))
    assert isinstance(found[1], Publication), found
    assert isinstance(found[0], Publication | WrongPhase), found
    world.until(made, State.WITHDRAWN)
    assert world.turn() == []
    assert (branches(remote), world.held(job)) == ([], [])


def refusing(*_: Any) -> Any:
    raise TargetRefused("Not today.")
