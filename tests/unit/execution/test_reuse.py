"""Reuse: what was computed is not computed again where its owner allows it, and the two jobs do without each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from broker.access.principal import LOCAL
from broker.execution import accept, collect, dismiss, reuse
from broker.execution.accept import ExecuteRequest, Ticket
from broker.execution.retention import DAY, Ages, Retention, delete_results
from broker.jobs.model import Job, Needs, Phase, Step
from broker.jobs.model import StageItem as Item
from broker.jobs.observation import State
from broker.packages import cwl
from broker.packages.inputs import Order
from broker.store import callcache, files, jobs, provenance
from broker.store.account_tables import members, usage
from broker.store.database import Database
from broker.store.result_tables import call_cache
from broker.store.tables import job_steps, now
from broker.store.tables import jobs as table
from broker.store.tables import processes as process_table
from tests.unit.execution.test_life import World
from tests.unit.store.rows import job_row, platform_row, process_row

REUSE = {"request": {"reuse": True}}
TEXT = {"stage": (Item("a/data.txt", text="hello"),), "job_order": {"a": {"class": "File", "location": "inputs/a/x"}}}


class Cache(World):
    """The world, with executions that go through accept."""

    def job(self, **fields: Any) -> Job:
        """A job as accept makes it once its row is there."""
        job = job_row(self.database, **{**REUSE, **fields})
        if not callcache.wanted(job):
            return job
        with self.database.write() as tx:
            return reuse.reuse(tx, job)

    def done(self, **fields: Any) -> Job:
        job = self.finish(self.job(**fields))
        assert job.phase is Phase.SUCCESSFUL, job
        return job

    def runs(self) -> int:
        """How often something was executed."""
        return sum(self.platform.executions.values())

    def content(self, job: Job) -> bytes:
        return b"".join(self.storage.open(collect.key(job, job.attempt, "a.txt")))

    def record(self, job: Job) -> dict[str, Any]:
        with self.database.read() as tx:
            found = provenance.get(tx, job.id)
        assert found is not None
        return found

    def clean(self, ages: Ages) -> None:
        Retention(self.database, self.storage, ages).step()

    def release(self) -> None:
        self.later()
        dismiss.release(self.database, self.platform, "w")


@pytest.fixture
def world(database: Database, tmp_path: Path) -> Cache:
    return Cache(database, tmp_path)


def test_the_same_again_does_not_run_and_has_a_copy_of_the_results(world: Cache) -> None:
    first, second = world.done(**TEXT), world.done(**TEXT)
    assert world.runs() == 1
    assert (first.reused, second.reused) == (None, first.id)
    assert first.id in second.message
    assert second.outputs == first.outputs
    assert world.content(second) == b"hello"
    with world.database.read() as tx:
        (one,), (other,) = files.of_job(tx, first.id), files.of_job(tx, second.id)
    assert (one.sha256, one.size, one.media_type) == (other.sha256, other.size, other.media_type)
    world.invariants(second)


def test_what_was_reused_is_said_in_the_record(world: Cache) -> None:
    world.platform.outputs = {"a.txt": "x"}
    first, second = world.done(), world.done()
    record = world.record(second)
    with world.database.read() as tx:
        assert record["reused"] == {"job": first.id, "record": provenance.digest(tx, first.id)}
    (step,) = record["steps"]
    assert (step["cacheHit"], step["reused"], step["status"]) == (True, first.id, "replayed")
    assert record["outputs"] == world.record(first)["outputs"]
    assert "reused" not in world.record(first)


def test_one_more_names_the_job_that_ran_the_steps(world: Cache) -> None:
    first, second, third = world.done(), world.done(), world.done()
    assert third.reused == second.id
    assert world.record(third)["steps"][0]["reused"] == first.id


def test_what_did_not_run_costs_nothing(world: Cache) -> None:
    first = world.job()
    world.submitted(first)
    world.platform.ran = (Step("main", "successful", 1.0, 2.0, 0, cpu_seconds=7.0),)
    world.finish(first)
    second = world.done()
    with world.database.read() as tx:
        booked = tx.execute(select(usage.c.cpu_seconds, usage.c.jobs)).one()
        spent = tx.execute(select(table.c.spent).where(table.c.id == second.id)).scalar()
    assert second.reused
    assert booked == (7.0, 2)
    assert spent == 0


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first", "second"])
def test_the_results_of_one_may_go_before_those_of_the_other(world: Cache, order: tuple[int, int]) -> None:
    both = world.done(), world.done()
    gone, left = both[order[0]], both[order[1]]
    delete_results(world.database, LOCAL, gone.id)
    world.clean(Ages())
    assert world.storage.size(collect.key(gone, 1, "a.txt")) is None
    assert world.content(left) == b"hello"
    assert world.done().reused == left.id
    assert world.runs() == 1


def test_deleted_results_are_not_used_again(world: Cache) -> None:
    first = world.done()
    delete_results(world.database, LOCAL, first.id)
    assert world.done().reused is None
    assert world.runs() == 2


def test_nothing_is_reused_but_where_both_owners_said_so(world: Cache) -> None:
    world.done(request={})
    assert world.done().reused is None  # the first one is in no cache
    assert world.done(request={}).reused is None
    assert world.runs() == 3


def test_what_is_done_again_to_compare_it_runs(world: Cache) -> None:
    first = world.done()
    assert world.done(reproduces=first.id).reused is None
    assert world.runs() == 2


@pytest.mark.parametrize(
    "other",
    [
        {"job_order": {"n": 2}},
        {"stage": (Item("a/data.txt", text="bye"),)},
        {"stage": (Item("a/other.txt", text="hello"),)},
        {"platform": "another"},
        {"process_id": "changed"},
        {"owner": "bob"},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_differs_runs(world: Cache, other: dict[str, Any]) -> None:
    platform_row(world.database, "another")
    process_row(world.database, "changed", digest="d2")
    same = {"job_order": {"n": 1}, "stage": (Item("a/data.txt", text="hello"),)}
    first = world.done(**same)
    assert world.job(**same | other).reused is None
    assert world.job(**same).reused == first.id


def test_the_same_package_under_another_name_is_the_same(world: Cache) -> None:
    process_row(world.database, "twin", digest="d1")
    first = world.done()
    assert world.job(process_id="twin").reused == first.id


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"needs": Needs(reusable=False)}, "WorkReuse"),
        ({"needs": Needs(kind="openeo")}, "not in its package"),
        ({"needs": Needs(network=True)}, "network"),
        ({"needs": Needs(images={"debian:12": True})}, "debian:12"),
        ({"stage": (Item("a/x", url="https://data.example/x"),)}, "only known once it is fetched"),
        ({"stage": (Item("a/x", text="{}", stac=True),)}, "only known once it is fetched"),
    ],
    ids=["WorkReuse", "kind", "network", "image", "link", "stac"],
)
def test_what_nobody_can_know_to_be_the_same_runs_and_says_why(world: Cache, fields: dict[str, Any], why: str) -> None:
    world.done(**fields)
    second = world.done(**fields)
    assert second.reused is None
    assert world.runs() == 2
    with world.database.read() as tx:
        (said,) = [one["data"]["message"] for one in jobs.events(tx, second.id) if one["event"] == "not-reusable"]
    assert why in said


def test_links_with_checksums_are_known(world: Cache) -> None:
    items = (Item("a/x", url="https://data.example/x", sha256="0" * 64), Item("b/empty", directory=True))
    first = world.done(stage=items)
    assert world.job(stage=items).reused == first.id


def test_what_a_request_says_of_a_link_is_only_believed_where_somebody_fetched_it(world: Cache) -> None:
    def linked(host: str, query: str = "") -> dict[str, Any]:
        return {"stage": (Item("a/x", url=f"https://{host}/x{query}", sha256="0" * 64),)}

    first = world.done(**linked("data.example", "?X-Amz-Signature=1"))
    assert world.job(**linked("official.example")).reused is None  # that this has those bytes, nobody has seen
    assert world.job(**linked("data.example", "?X-Amz-Signature=2")).reused == first.id


def pinned(world: Cache, digest: str) -> None:
    with world.database.write() as tx:
        tx.execute(update(process_table).values(images={"debian:12": digest}))


IMAGE = {"needs": Needs(images={"debian:12": False})}
IN_IMAGE = Step("main", "successful", 1.0, 2.0, 0, image="debian:12")


def test_pinned_images_are_known(world: Cache) -> None:
    pinned(world, "sha256:1")
    world.platform.ran = (IN_IMAGE,)
    first = world.done(**IMAGE)
    assert world.job(**IMAGE).reused == first.id
    pinned(world, "sha256:2")
    assert world.job(**IMAGE).reused is None


def test_what_ran_without_the_image_that_it_hints_at_is_not_used_again(world: Cache) -> None:
    pinned(world, "sha256:1")
    world.done(**IMAGE)  # its step says nothing of an image
    assert world.job(**IMAGE).reused is None


def test_where_no_image_is_used_none_has_to_be_pinned(world: Cache) -> None:
    platform_row(world.database, isolation="bubblewrap")
    first = world.done(**IMAGE)
    assert world.job(**IMAGE).reused == first.id
    platform_row(world.database, isolation="bubblewrap", container_engine="podman")
    assert world.job(**IMAGE).reused is None


def test_what_is_shared_with_a_project_is_used_again_by_those_who_work_in_it(world: Cache) -> None:
    with world.database.write() as tx:
        tx.execute(insert(members).values(project="reef", person="bob", part="member", since=now()))
    first = world.done(owner="alice", project="reef", shared="project", shared_with="reef")
    assert world.job(owner="bob", project="reef").reused == first.id
    assert world.job(owner="bob").reused is None  # for his own account
    assert world.job(owner="eve", project="reef").reused is None


def test_what_is_no_longer_shared_is_not_used_again(world: Cache) -> None:
    with world.database.write() as tx:
        tx.execute(insert(members).values(project="reef", person="bob", part="member", since=now()))
    world.done(owner="alice", project="reef", shared="private", shared_with="reef")
    assert world.job(owner="bob", project="reef").reused is None


def test_a_job_in_the_line_has_the_results_of_the_one_before_it(world: Cache) -> None:
    first, second = world.job(), world.job()
    assert second.phase is Phase.ACCEPTED
    world.submitted(first)
    world.platform.says(first.name, State.SUCCEEDED)
    world.observe()
    world.later()
    world.collect()
    assert world.finish(second).reused == first.id
    assert world.runs() == 1
    world.invariants(second)


def test_results_that_are_gone_from_storage_are_computed(world: Cache) -> None:
    first = world.done()
    second = world.job()
    assert second.reused == first.id
    world.storage.delete_prefix(f"{first.owner}/{first.id}")
    second = world.finish(second)
    assert (second.phase, second.reused, second.attempt) == (Phase.SUCCESSFUL, None, 2)
    assert world.content(second) == b"hello"
    record = world.record(second)
    assert "reused" not in record
    assert [step["status"] for step in record["steps"]] == ["successful"]
    world.invariants(second)


def test_damaged_rows_of_the_other_job_only_mean_that_this_one_runs(world: Cache) -> None:
    first = world.done()
    with world.database.write() as tx:
        tx.execute(update(job_steps).where(job_steps.c.job_id == first.id).values(step={"name": "no status"}))
    assert world.done().reused is None


def test_a_job_without_files_is_there_at_once(world: Cache) -> None:
    world.platform.outputs = {}
    first = world.done()
    again = world.job()
    assert (again.phase, again.reused) == (Phase.SUCCESSFUL, first.id)


def test_results_grow_old_from_when_they_were_computed(world: Cache) -> None:
    first, second = world.done(), world.done()
    with world.database.write() as tx:
        age = {row.job_id: row.computed for row in tx.execute(select(call_cache))}
        assert age[first.id] == age[second.id]
        tx.execute(update(call_cache).values(computed=now() - 31 * DAY))
    world.clean(Ages(reuse=30 * DAY))
    assert world.done().reused is None
    assert world.runs() == 2


def test_a_platform_forgets_the_steps_of_a_job_with_its_results(world: Cache) -> None:
    job = world.done()
    world.release()
    assert world.platform.forgotten == []
    delete_results(world.database, LOCAL, job.id)
    world.release()
    assert world.platform.forgotten == [job.id]


def test_a_job_is_deleted_when_its_platform_has_forgotten_its_steps(world: Cache) -> None:
    job = world.done()
    world.release()
    with world.database.write() as tx:
        tx.execute(update(table).values(finished=now() - 2 * DAY))
    world.clean(Ages(jobs=DAY))
    assert world.get(job).id == job.id
    world.release()
    assert world.platform.forgotten == [job.id]
    world.clean(Ages(jobs=DAY))
    with world.database.read() as tx:
        assert tx.execute(select(table.c.id)).all() == []


def test_an_execution_gets_its_results_in_the_transaction_that_makes_it(
    world: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accept, "job_order", lambda *_, **__: Order({}, ()))
    monkeypatch.setattr(cwl.Inspection, "from_json", lambda value: value)
    first = world.done()
    made = []
    for extra in ({"reuse": True}, {}):
        with world.database.read() as tx:
            request = ExecuteRequest(extra=extra)
            ticket = accept.prepare(tx, LOCAL, "p", request, upload_id=lambda href: None)
        assert isinstance(ticket, Ticket)
        (outcome,) = accept.admit(world.database, [ticket])
        assert isinstance(outcome, tuple)
        made.append(outcome[0])
    assert [job.reused for job in made] == [first.id, None]
    assert [job.phase for job in made] == [Phase.COLLECTING, Phase.ACCEPTED]
