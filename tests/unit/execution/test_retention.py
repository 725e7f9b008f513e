"""Retention: what is past its time goes, row first; what is needed stays, whatever breaks in between."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, Text, insert, select, update

from broker.access.principal import LOCAL, Scope
from broker.access.quota import Kind, Quota, Tenant
from broker.errors import Forbidden, Held, NoSuchJob, NoSuchUpload, StorageError, WrongPhase
from broker.execution import retention
from broker.execution.accept import UPLOAD_SCHEME
from broker.execution.collect import key
from broker.execution.retention import DAY, Ages, Retention, delete_results, remove_bytes
from broker.jobs import lifecycle
from broker.jobs.lifecycle import Change
from broker.jobs.model import Job, Phase, StageItem
from broker.platform import LogChunk, OutputFile
from broker.storage.local import LocalStorage
from broker.store import account_tables, audit, claims, ended, files, jobs, quotas, removals, tables, uploads, usage
from broker.store.database import Database, new_id
from broker.store.files import KeptFile
from broker.store.tables import Json, now
from broker.store.tables import jobs as table
from tests.unit.store.rows import job_row

NEVER = Ages(None, None, None, None, None, None)


class Breaking(LocalStorage):
    """Storage that cannot remove what is below some prefixes."""

    broken: tuple[str, ...] = ()

    def delete_prefix(self, prefix: str) -> None:
        if prefix.startswith(self.broken) and self.broken:
            raise StorageError("The bucket is read-only.")
        super().delete_prefix(prefix)


class Killed(BaseException):
    """The process ends here."""


class World:
    def __init__(self, database: Database, root: Path) -> None:
        self.database = database
        self.storage = Breaking(root)

    def job(self, days: float | None, *, content: bytes = b"hello", phase: Phase = Phase.SUCCESSFUL) -> Job:
        """A job with one file and a line of log that ended so many days ago; None: it goes on."""
        job = job_row(self.database)
        self.storage.keep(key(job, 1, "a.txt"), io.BytesIO(content))
        with self.database.write() as tx:
            files.announce(tx, job.id, 1, [OutputFile("a.txt", "a.txt")])
            files.kept(tx, job.id, [KeptFile("a.txt", 1, "a.txt", True, len(content), None, "0")])
            files.add_logs(tx, job.id, 1, [LogChunk("s", "hello")])
            jobs.remember_key(tx, job.owner, job.id, "0", job.id)
            if days is None:
                return job
            for change in (
                Change("submitting", Phase.SUBMITTING),
                Change("submitted", Phase.SUBMITTED),
                Change("collecting", Phase.COLLECTING, outputs={"said": "hello"}),
                Change("successful", Phase.SUCCESSFUL) if phase is Phase.SUCCESSFUL else lifecycle.dismissed(),
            ):
                (job,) = claims.claim(tx, [job.id], list(Phase), "w")
                job = claims.save(tx, job, change)
            claims.released(tx, job)
            tx.execute(update(table).where(table.c.id == job.id).values(finished=now() - days * DAY))
        return job

    def upload(self, seconds: float, owner: str = "local") -> uploads.Upload:
        with self.database.write() as tx:
            up = uploads.open_upload(tx, new_id(), owner, owner, "x", "a/b", 1, 60.0, 10**6)
            up = uploads.complete(tx, up, 1, "0")
            tx.execute(update(tables.uploads).where(tables.uploads.c.id == up.id).values(expires=now() + seconds))
        self.storage.keep(uploads.key(up), io.BytesIO(b"x"))
        return up

    def run(self, ages: Ages = NEVER) -> None:
        """A new process does everything that is due."""
        one = Retention(self.database, self.storage, ages)
        while one.step():
            pass

    def get(self, job: Job) -> Job:
        with self.database.read() as tx:
            return jobs.get(tx, job.id)

    def bytes_of(self, job: Job) -> int | None:
        return self.storage.size(key(job, 1, "a.txt"))

    def logs(self, job: Job) -> list[str]:
        with self.database.read() as tx:
            return [row.text for row in files.logs(tx, job.id)]

    def rows(self, of: Any) -> int:
        with self.database.read() as tx:
            return len(tx.execute(select(of)).all())


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path / "files")


def test_without_ages_everything_stays(world: World) -> None:
    job = world.job(10_000)
    world.run()
    assert world.bytes_of(job) == 5
    assert world.logs(job) == ["hello"]
    assert world.get(job).swept is None


def test_results_go_after_their_days_and_the_job_says_so(world: World) -> None:
    old, young, live, dismissed = world.job(31), world.job(29), world.job(None), world.job(31, phase=Phase.DISMISSED)
    world.run(Ages(results=30 * DAY))
    assert [world.bytes_of(job) for job in (old, young, live, dismissed)] == [None, 5, 5, None]
    gone = world.get(old)
    assert gone.swept is not None
    assert gone.outputs is None
    assert gone.message.startswith("The results were deleted on 20")
    assert "30 days" in gone.message
    assert world.get(dismissed).message == lifecycle.dismissed().message
    with world.database.read() as tx:
        assert files.of_job(tx, old.id) == []
        assert [one["event"] for one in jobs.events(tx, old.id)][-1] == "results-deleted"
        me = usage.of(tx, Tenant(Kind.PERSON, "local"), usage.EVERYTHING, 0.0)
    assert me.storage_bytes == 5, "of the young one: what is live is not booked yet"
    assert world.logs(old) == ["hello"]


def test_logs_and_jobs_go_after_theirs(world: World) -> None:
    old, older, live = world.job(20), world.job(40), world.job(None)
    world.run(Ages(logs=10 * DAY, jobs=30 * DAY))
    assert world.logs(old) == []
    assert world.bytes_of(old) == 5
    with pytest.raises(NoSuchJob):
        world.get(older)
    assert world.bytes_of(older) is None
    for of in (tables.job_events, tables.job_logs, tables.job_files, tables.idempotency):
        with world.database.read() as tx:
            assert tx.execute(select(of).where(of.c.job_id == older.id)).first() is None, of.name
    assert world.logs(live) == ["hello"]
    assert world.get(live).phase is Phase.ACCEPTED


def test_a_job_of_which_something_is_left_on_its_platform_stays(world: World) -> None:
    job = world.job(40)
    with world.database.write() as tx:
        tx.execute(update(table).values(due_at=now()))  # not released yet
    world.run(Ages(jobs=30 * DAY))
    assert world.get(job)
    with world.database.write() as tx:
        claims.released(tx, world.get(job))
    world.run(Ages(jobs=30 * DAY))
    with pytest.raises(NoSuchJob):
        world.get(job)


def test_what_is_held_stays_until_it_is_let_go(world: World) -> None:
    """A publication that is not done yet: issue 7 writes such rows."""
    job, other = world.job(40), world.job(40)
    with world.database.write() as tx:
        tx.execute(insert(account_tables.holds).values(job_id=job.id, reason="publication", created=now()))
    ages = Ages(results=DAY, logs=DAY, jobs=30 * DAY)
    one = Retention(world.database, world.storage, ages)
    while one.step():
        pass
    assert world.bytes_of(job) == 5
    assert world.logs(job) == ["hello"]
    with pytest.raises(NoSuchJob):
        world.get(other)
    with pytest.raises(Held), world.database.read():
        delete_results(world.database, LOCAL, job.id)
    with world.database.write() as tx:
        tx.execute(account_tables.holds.delete())
    world.run(ages)
    assert world.bytes_of(job) is None


def test_a_hold_that_comes_between_the_look_and_the_deletion_counts(world: World) -> None:
    job = world.job(40)
    with world.database.write() as tx:
        tx.execute(insert(account_tables.holds).values(job_id=job.id, reason="publication", created=now()))
        assert ended.sweep_results(tx, job.id, "gone", {}) is None
        assert not ended.delete_logs(tx, job.id)
        assert not ended.forget(tx, job.id)
    assert world.bytes_of(job) == 5


def test_nothing_of_a_live_job_goes_however_it_is_asked(world: World) -> None:
    job = world.job(None)
    with world.database.write() as tx:
        assert ended.sweep_results(tx, job.id, "gone", {}) is None
        assert not ended.delete_logs(tx, job.id)
        assert not ended.forget(tx, job.id)
    with pytest.raises(WrongPhase):
        delete_results(world.database, LOCAL, job.id)


# ---- crashes and broken storage


def test_killed_between_row_and_bytes_the_bytes_go_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    job, up = world.job(40), world.upload(-1.0)
    with monkeypatch.context() as patched:

        def die(*_: object) -> None:
            raise Killed

        patched.setattr(world.storage, "delete_prefix", die)
        with pytest.raises(Killed):
            world.run(Ages(results=DAY))
    assert world.get(job).swept is not None, "the rows are gone"
    assert (world.bytes_of(job), world.storage.size(uploads.key(up))) == (5, 1)
    world.run()
    assert (world.bytes_of(job), world.storage.size(uploads.key(up))) == (None, None)
    assert world.rows(tables.removals) == 0


def test_killed_before_the_commit_nothing_has_happened(world: World) -> None:
    job = world.job(40)
    with pytest.raises(Killed), world.database.write() as tx:
        assert ended.sweep_results(tx, job.id, "gone", {}) == 5
        raise Killed
    remove_bytes(world.database, world.storage)
    assert world.bytes_of(job) == 5
    assert world.get(job).outputs == {"said": "hello"}


def test_one_that_storage_cannot_remove_blocks_no_other(world: World) -> None:
    """The defect that was: the first upload whose bytes could not go kept all others for ever."""
    broken, others = world.upload(-10.0), [world.upload(-5.0) for _ in range(3)]
    job = world.job(40)
    world.storage.broken = (uploads.prefix(broken), f"{job.owner}/{job.id}")
    world.run(Ages(results=DAY))
    assert [world.storage.size(uploads.key(up)) for up in others] == [None] * 3
    with world.database.read() as tx, pytest.raises(NoSuchUpload):
        uploads.get(tx, broken.id)
    assert world.rows(tables.removals) == 2
    with world.database.read() as tx:
        assert removals.due(tx, 10) == [], "later, not at once again"
    world.storage.broken = ()
    with world.database.write() as tx:
        tx.execute(update(tables.removals).values(due_at=now()))
    world.run()
    assert world.storage.size(uploads.key(broken)) is None
    assert world.bytes_of(job) is None


# ---- uploads


def test_an_upload_that_a_live_job_counts_on_lives_on(world: World) -> None:
    needed, other = world.upload(60.0), world.upload(60.0)
    stage = (StageItem("x", url=f"{UPLOAD_SCHEME}{needed.id}"), StageItem("y", text=f'"{UPLOAD_SCHEME}{other.id}'))
    job_row(world.database, stage=stage)
    world.run()
    with world.database.read() as tx:
        assert uploads.get(tx, needed.id).expires - needed.created > 0.9 * DAY
        assert uploads.get(tx, other.id).expires - other.created < 3600


def test_an_upload_that_was_prolonged_since_the_look_stays(world: World) -> None:
    up = world.upload(3600.0)
    with world.database.write() as tx:
        assert not uploads.remove_expired(tx, up.id)
    assert world.storage.size(uploads.key(up)) == 1


# ---- rows of little use


def _filled(of: Table, name: str) -> dict[str, Any]:
    """Whatever the columns are that have to be there; `name` where a text is asked for."""
    needed = [column for column in of.c if not column.nullable and column.name != "expires"]
    return {c.name: [] if isinstance(c.type, Json) else name if isinstance(c.type, Text) else 0 for c in needed}


def test_keys_logins_sessions_and_invitations(world: World) -> None:
    a = account_tables
    with world.database.write() as tx:
        for age, name in ((8 * DAY, "old"), (-60.0, "new")):
            when = now() - age
            jobs.remember_key(tx, "local", name, "0", name)
            of_key = update(tables.idempotency).where(tables.idempotency.c.key == name)
            tx.execute(of_key.values(created=when))
            for of in (a.logins, a.sessions, a.invitations):
                tx.execute(insert(of).values(**_filled(of, name), expires=when))
    world.run(Ages())
    found = {of.name: world.rows(of) for of in (tables.idempotency, a.logins, a.sessions, a.invitations)}
    assert found == {"idempotency": 1, "logins": 1, "sessions": 1, "invitations": 2}
    world.run(Ages(invitations=7 * DAY))
    assert world.rows(a.invitations) == 1


# ---- what people delete themselves


def test_people_delete_results_of_their_own_and_it_is_on_record(world: World) -> None:
    job = world.job(0.0)
    stranger = type(LOCAL)("b", "b", LOCAL.scopes)
    with pytest.raises(NoSuchJob):
        delete_results(world.database, stranger, job.id)
    with pytest.raises(Forbidden):
        delete_results(world.database, type(LOCAL)("local", "local", frozenset({Scope.READ})), job.id)
    done = delete_results(world.database, LOCAL, job.id)
    assert done.swept is not None
    assert delete_results(world.database, LOCAL, job.id).swept == done.swept
    with world.database.read() as tx:
        assert [(row["action"], row["subject"], row["data"]) for row in audit.page(tx)] == [
            ("delete-results", f"job/{job.id}", {"bytes": 5})
        ]
    world.run()
    assert world.bytes_of(job) is None


def test_scratch_is_kept_as_long_as_it_is_asked(world: World) -> None:
    job = world.job(1)
    with world.database.write() as tx:
        tx.execute(update(table).values(due_at=now()))
        taken = claims.claim(tx, [job.id], [Phase.SUCCESSFUL], "w")
        assert claims.released_later(tx, taken, 2 * DAY) == {job.id}
        assert claims.claim_due(tx, job.platform, [Phase.SUCCESSFUL], "w", 10) == []
        tx.execute(update(table).values(finished=now() - 3 * DAY, due_at=now()))
        taken = claims.claim_due(tx, job.platform, [Phase.SUCCESSFUL], "w", 10)
        assert claims.released_later(tx, taken, 2 * DAY) == set()


def test_some_keep_less_than_everybody(world: World) -> None:
    """By person and by project, never more than everybody. Seen red: without the walks for them."""
    mine, other, young = world.job(10), world.job(10), world.job(3)
    with world.database.write() as tx:
        tx.execute(update(table).where(table.c.id == other.id).values(owner="bob", project="eo"))
        quotas.put(tx, Tenant(Kind.PERSON, "local"), Quota(results_days=7, logs_days=100))
    world.run(Ages(results=30 * DAY))
    assert [world.get(job).swept is None for job in (mine, other, young)] == [False, True, True]
    assert "results of the person local are kept for 7 days" in world.get(mine).message
    assert world.logs(mine) == ["hello"]
    with world.database.write() as tx:
        quotas.put(tx, Tenant(Kind.PROJECT, "eo"), Quota(results_days=365, logs_days=1))
    world.run(Ages(results=30 * DAY))
    assert world.get(other).swept is None
    assert (world.logs(other), world.logs(young)) == ([], ["hello"])
    world.run(Ages(results=9 * DAY))
    assert world.get(other).swept is not None, "more days than everybody's change nothing"


def test_fewer_days_count_from_the_next_look_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "SELDOM", 0.0)
    job = world.job(10)
    one = Retention(world.database, world.storage, NEVER)
    for days, gone in ((20, False), (5, True)):
        with world.database.write() as tx:
            quotas.put(tx, Tenant(Kind.PERSON, "local"), Quota(results_days=days))
        one.step()
        assert (world.get(job).swept is not None) == gone


def test_many_are_done_in_small_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)
    made = [world.job(40) for _ in range(5)]
    one = Retention(world.database, world.storage, Ages(results=DAY))
    one.step()
    assert sum(world.get(job).swept is not None for job in made) == 2
    while one.step():
        pass
    assert all(world.bytes_of(job) is None for job in made)
