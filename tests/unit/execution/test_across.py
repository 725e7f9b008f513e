"""Jobs whose steps run on other platforms, verb by verb, on both databases."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, update

from broker.errors import PackageError
from broker.execution import across, collect, dismiss, dispatch, observe
from broker.execution.retention import remove_bytes
from broker.jobs import call
from broker.jobs.lifecycle import Change, Child
from broker.jobs.model import Attempt, Capabilities, Failure, Fault, Job, Limits, Needs, Phase, Reason
from broker.jobs.observation import Need, State
from broker.packages.bundle import build
from broker.packages.cwl import Inspection
from broker.packages.deployment import Deployment
from broker.platform import Collected, OutputFile
from broker.runner.loading import inspect
from broker.storage.local import LocalStorage
from broker.store import children, claims, deliveries, ended, files, jobs, processes, provenance, sharing
from broker.store.database import Database
from broker.store.tables import jobs as table
from broker.store.tables import now
from tests.peers.scripted import ScriptedPlatform
from tests.unit.store.rows import job_row, platform_row, process_row

TOOL: dict[str, Any] = {
    "cwlVersion": "v1.2",
    "class": "CommandLineTool",
    "baseCommand": "cat",
    "inputs": [{"id": "text", "type": "File"}],
    "outputs": [{"id": "out", "type": "stdout"}],
}


class Needing(ScriptedPlatform):
    """One whose attempts may end with needs, each with a file."""

    def needs(self, name: str, *keys: str, platform: str = "far") -> None:
        found = tuple(Need(key, f"step {key}", platform, TOOL) for key in keys)
        self.outputs = {f"{key}/in.txt": f"for {key}" for key in keys}
        self.says(name, State.NEEDS, needs=found)

    def collect(self, attempt: Attempt) -> Collected:
        needs = self.states[attempt.name].needs
        if not needs:
            self.outputs = {"a.txt": "hello"}
            return super().collect(attempt)
        place = {"class": "File", "basename": "in.txt"}
        orders = {need.key: {"text": place | {"location": f"{need.key}/in.txt"}} for need in needs}
        return Collected(orders, tuple(OutputFile(path, path, len(text)) for path, text in self.outputs.items()))


def read(tool: bytes, _: Mapping[str, str]) -> tuple[Deployment, Inspection]:
    bundle = build(tool)
    return Deployment(bundle, tool, "application/cwl"), inspect(bundle, Path("/nowhere"))


class World:
    """Two platforms: jobs run here, steps of them there."""

    def __init__(self, database: Database, place: Path) -> None:
        self.database = database
        self.storage = LocalStorage(place / "files")
        self.here, self.far = Needing(), ScriptedPlatform("far")
        self.offers = {one: platform_row(database, one, cores=8.0) for one in ("scripted", "far")}
        with database.write() as tx:
            processes.keep_package(tx, "d1", {"kind": "cwl", "documents": {}}, {"process": {}})
        process_row(database)

    def turn(self, platform: ScriptedPlatform) -> None:
        """All that is due on a platform, once."""
        self.later()
        while dispatch.dispatch(
            self.database, platform, self.offers[platform.name], self.storage, Limits(), "w"
        ):  # all that may go
            pass
        self.later()
        observe.observe(self.database, platform, "w")
        self.later()
        collect.collect(self.database, platform, self.storage, "w")

    def go_on(self) -> list[Job]:
        self.later()
        return across.step(self.database, "scripted", "w", read)

    def later(self) -> None:
        with self.database.write() as tx:
            live = table.c.phase.not_in(["successful", "failed", "dismissed"])
            tx.execute(update(table).where(live).values(lease_until=None, due_at=now() - 1))

    def get(self, job_id: str) -> Job:
        with self.database.read() as tx:
            return jobs.get(tx, job_id)

    def waiting(self, *keys: str, **fields: Any) -> tuple[Job, Sequence[children.Shown]]:
        """A job that waits for children of these needs."""
        job = job_row(self.database, needs=Needs(elsewhere=frozenset({"far"})), **fields)
        self.turn(self.here)
        self.here.needs(job.name, *keys)
        for _ in keys:
            self.turn(self.here)
        assert self.get(job.id).phase is Phase.WAITING
        self.go_on()
        return self.get(job.id), self.children(job)

    def children(self, job: Job) -> Sequence[children.Shown]:
        with self.database.read() as tx:
            return children.shown(tx, job.id, 100)

    def end(self, child: str, **fields: Any) -> None:
        """A child ends well, or as the fields say."""
        job = self.get(child)
        with self.database.write() as tx:
            held = claims.claim(tx, [child], [job.phase], "w")[0]
            files.announce(tx, child, 1, [OutputFile("out/o.txt", "o", 1, None, "a" * 64)])
            files.kept(tx, child, files.of_job(tx, child, kept_only=False))
            out = {"out": {"class": "File", "location": "out/o.txt"}}
            for change in fields.get("changes") or [
                Change("", Phase.COLLECTING, outputs=out),
                Change("successful", Phase.SUCCESSFUL),
            ]:
                held = claims.save(tx, held, change, hold=True)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path)


FAILED = [Change("failed", Phase.FAILED, failure=Failure(Fault.INPUT, Reason.INVALID_INPUT, "There is no band."))]


def test_a_need_becomes_a_job_there_with_what_was_kept_for_it(world: World) -> None:
    job, [one, two] = world.waiting("k1", "k2", title="mine", tags=("t",), project="p")
    assert job.children == 2
    assert {one.platform, two.platform} == {"far"}
    child = world.get(one.id)
    assert (child.owner, child.project, child.parent, child.tags) == (job.owner, "p", job.id, ("t",))
    assert child.job_order["text"]["location"] == "inputs/step/in.txt"
    [item] = child.stage
    assert item.url == f"stored:{job.owner}/{job.id}/1/k1/in.txt"
    assert b"".join(world.storage.open(str(item.url).removeprefix("stored:"))) == b"for k1"
    with world.database.read() as tx:
        assert files.of_job(tx, job.id) == []  # they are none of the job's results
        process = processes.get(tx, child.process_id, child.process_revision)
        assert processes.find(tx, child.process_id) is None  # nobody can execute a step by itself
        assert ended.held(tx, one.id) == [f"the job {job.id} goes on with them"]
    assert process.description["title"] == "step k1"
    assert [one.phase for one in (*world.go_on(), *world.go_on())] == [Phase.WAITING] * 2  # no second children
    assert len(world.children(job)) == 2


def test_a_job_goes_on_with_what_its_children_gave(world: World) -> None:
    job, sent = world.waiting("k1", "k2")
    for child in sent:
        assert world.go_on()[0].phase is Phase.WAITING
        world.end(child.id)
    [again] = world.go_on()
    assert (again.phase, again.attempt) == (Phase.ACCEPTED, 2)
    world.turn(world.here)
    spec = world.here.specs[f"eb-{job.id}-2"]
    assert set(spec.brought) == {"k1", "k2"}
    assert spec.brought["k1"]["outputs"]["out"]["location"] == "inputs/.steps/k1/out/o.txt"
    assert spec.brought["k1"]["step"]["node"] == "far"
    assert {item.path for item in spec.stage} == {f".steps/{key}/out/o.txt" for key in ("k1", "k2")}
    assert all(item.trusted for item in spec.stage)
    world.here.says(spec.name, State.SUCCEEDED)
    world.turn(world.here)
    assert world.get(job.id).phase is Phase.SUCCESSFUL
    with world.database.read() as tx:
        record = provenance.get(tx, job.id)
        assert ended.held(tx, sent[0].id) == []
    assert record is not None
    assert [(one["step"], one["phase"]) for one in record["children"]] == [
        ("step k1", "successful"),
        ("step k2", "successful"),
    ]
    assert list(record["outputs"]) == ["out"]
    remove_bytes(world.database, world.storage)
    with world.database.read() as tx:
        [result] = files.of_job(tx, job.id)
    own = f"{job.owner}/{job.id}"
    assert b"".join(world.storage.open(f"{own}/2/{result.path}")) == b"hello"
    assert world.storage.size(f"{own}/1/k1/in.txt") is None  # what went to its children is not needed any more


def test_a_child_that_ends_while_its_parent_is_looked_at_is_not_overlooked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, [child] = world.waiting("k1")
    ending = threading.Thread(target=world.end, args=(child.id,))
    look = children.of_needs

    def looked(tx: Connection, job: Job) -> list[Child]:
        found = look(tx, job)
        if not ending.ident:
            ending.start()
            ending.join(0.5)  # it has to wait for the end of this transaction
        return found

    monkeypatch.setattr(children, "of_needs", looked)
    assert [one.phase for one in world.go_on()] == [Phase.WAITING]
    ending.join(10)
    [again] = across.step(world.database, "scripted", "w", read)  # due now, not some time
    assert (again.id, again.phase, again.attempt) == (job.id, Phase.ACCEPTED, 2)


def test_the_same_step_of_another_job_is_the_same_computation(world: World) -> None:
    """Where the files of its inputs are kept makes no difference."""
    sent = [world.waiting("k1", request={"reuse": True})[1][0].id for _ in range(2)]
    one, two = (world.get(child) for child in sent)
    assert one.request["reuse"] is two.request["reuse"] is True
    assert one.stage != two.stage
    stages = [[replace(item, sha256="a" * 64) for item in child.stage] for child in (one, two)]
    keys = {
        call.key(replace(child, stage=tuple(stage)), "digest", {}, Capabilities(), "engine")
        for child, stage in zip((one, two), stages, strict=True)
    }
    assert len(keys) == 1


def test_whoever_sees_a_job_sees_its_children(world: World) -> None:
    job, [child] = world.waiting("k1")
    with world.database.write() as tx:
        sharing.put(tx, "job", job.id, job.owner, "public", None)
    assert world.get(child.id).shared == "public"


def test_a_failed_child_fails_its_parent_and_ends_the_others(world: World) -> None:
    job, [one, two] = world.waiting("k1", "k2")
    world.end(one.id, changes=FAILED)
    [failed] = world.go_on()
    assert failed.phase is Phase.FAILED
    assert failed.failure is not None
    assert (failed.failure.fault, failed.failure.step) == (Fault.INPUT, "step k1")
    assert "There is no band." in failed.failure.message
    assert world.get(two.id).dismiss_requested
    assert not world.get(one.id).dismiss_requested
    assert job.id == failed.id


def test_a_job_that_is_dismissed_takes_its_children_along(world: World) -> None:
    job, [child] = world.waiting("k1")
    with world.database.write() as tx:
        jobs.request_dismiss(tx, job)
    dismiss.carry_out(world.database, world.here, "w")
    assert world.get(job.id).phase is Phase.DISMISSED
    remove_bytes(world.database, world.storage)
    assert world.storage.size(f"{job.owner}/{job.id}/1/k1/in.txt") is None
    assert world.get(child.id).dismiss_requested
    with world.database.read() as tx:
        assert ("dismiss", child.id) in {(one.verb, one.job_id) for one in deliveries.pending(tx)}


def test_a_child_that_its_owner_dismisses_fails_the_parent(world: World) -> None:
    _, [child] = world.waiting("k1")
    world.end(child.id, changes=[Change("dismissed", Phase.DISMISSED)])
    [failed] = world.go_on()
    assert failed.phase is Phase.FAILED
    assert "was dismissed" in failed.message


def test_a_step_that_never_gets_the_same_inputs_does_not_go_on_for_ever(world: World) -> None:
    job, [child] = world.waiting("k0")
    for number in range(1, across.MOST_ROUNDS + 1):
        world.end(child.id)
        world.go_on()
        world.turn(world.here)
        name = f"eb-{job.id}-{number + 1}"
        found = (Need(f"k{number}", "step k0", "far", TOOL),)
        world.here.outputs = {f"k{number}/in.txt": "other"}
        world.here.says(name, State.NEEDS, needs=found)
        world.turn(world.here)
        [last] = world.go_on()
        if last.terminal:
            break
        child = world.children(job)[-1]
    assert number == across.MOST_ROUNDS
    assert last.failure is not None
    assert last.failure.fault is Fault.PACKAGE
    assert "its inputs were others" in last.message


@pytest.mark.parametrize("why", ["nowhere", "unreadable"])
def test_a_step_that_cannot_be_sent_fails_the_job_with_its_name(
    world: World, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_row(world.database, needs=Needs(elsewhere=frozenset({"far"})))
    world.turn(world.here)
    world.here.needs(job.name, "k1", platform="nowhere" if why == "nowhere" else "far")
    world.turn(world.here)

    def refuse(*_: object) -> Any:
        raise PackageError("It makes no sense.")

    world.later()
    [failed] = across.step(world.database, "scripted", "w", refuse if why == "unreadable" else read)
    assert failed.phase is Phase.FAILED
    assert "The step step k1 cannot run elsewhere" in failed.message
    assert ("nowhere" if why == "nowhere" else "makes no sense") in failed.message


def test_one_that_waits_holds_no_room(world: World) -> None:
    job, _ = world.waiting("k1")
    assert job.phase is Phase.WAITING
    other = job_row(world.database, needs=Needs(cores=8.0))
    world.turn(world.here)
    assert world.get(other.id).phase is Phase.SUBMITTED


def test_a_tool_is_read_once_whatever_the_number_of_its_runs(world: World) -> None:
    read_tools: list[bytes] = []

    def count(tool: bytes, documents: Mapping[str, str]) -> tuple[Deployment, Inspection]:
        read_tools.append(tool)
        return read(tool, documents)

    job = job_row(world.database, needs=Needs(elsewhere=frozenset({"far"})))
    world.turn(world.here)
    world.here.needs(job.name, *(f"k{number}" for number in range(20)))
    for _ in range(2):
        world.turn(world.here)
    world.later()
    across.step(world.database, "scripted", "w", count)
    assert len(world.children(job)) == 20
    assert [json.loads(one) for one in read_tools] == [TOOL]
