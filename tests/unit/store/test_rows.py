"""Jobs, processes, uploads, tokens, logs and leases as rows, on both databases."""

from __future__ import annotations

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, update

from broker.access.principal import Reach
from broker.access.tokens import digest, generate
from broker.errors import (
    DuplicatedProcess,
    Forbidden,
    IdempotencyConflict,
    ImmutableProcess,
    NoSuchJob,
    NoSuchProcess,
    NoSuchUpload,
    QuotaExceeded,
    UploadConflict,
)
from broker.jobs.model import Step
from broker.platform import LogChunk, OutputFile
from broker.store import account_tables, files, jobs, leases, processes, tokens, uploads, visible
from broker.store.database import Database, new_id
from broker.store.tables import metadata, now
from broker.store.tables import uploads as uploads_table
from tests.unit.store.rows import job_row, platform_row, process_row

ME = Reach("local")


def test_the_migrations_make_the_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    assert account_tables.audit.name in metadata.tables
    assert [change for change in found if change[0] not in ("remove_table",)] == []


def test_ids_sort_by_time() -> None:
    ids = [new_id() for _ in range(3)]
    assert len(set(ids)) == 3
    assert all(part[14] == "7" and part[19] in "89ab" for part in ids)


def test_other_peoples_jobs_do_not_exist(database: Database) -> None:
    job = job_row(database, "a")
    with database.read() as tx:
        assert jobs.get_light(tx, job.id, Reach("a")).id == job.id
        with pytest.raises(NoSuchJob):
            jobs.get(tx, job.id, Reach("b"))


def test_what_is_shared_is_seen_and_not_changed(database: Database) -> None:
    """Private: the owner. Project: its members see it, its maintainers change it. Public: everybody sees it."""
    rows = {shared: job_row(database, "a", shared_with="p", shared=shared) for shared in visible.SHARED}
    parts = [("p", "b", "member"), ("p", "c", "maintainer"), ("other", "d", "maintainer")]
    with database.write() as tx:
        for project, person, part in parts:
            tx.execute(insert(account_tables.members).values(project=project, person=person, part=part, since=now()))
    sees = {name: Reach(name) for name in "abcd"} | {"operator": Reach("x", everything=True)}
    found: dict[str, dict[str, str]] = {name: {} for name in sees}
    for name, reach in sees.items():
        for shared, job in rows.items():
            with database.read() as tx:
                try:
                    jobs.get_to_change(tx, job.id, reach)
                    found[name][shared] = "changes"
                except Forbidden:
                    found[name][shared] = "sees"
                except NoSuchJob:
                    found[name][shared] = "nothing"
    everything = dict.fromkeys(visible.SHARED, "changes")
    assert found == {
        "a": everything,
        "b": {"private": "nothing", "project": "sees", "public": "sees"},
        "c": {"private": "nothing", "project": "changes", "public": "changes"},
        "d": {"private": "nothing", "project": "nothing", "public": "sees"},
        "operator": everything,
    }


def test_paging_and_filters(database: Database) -> None:
    made = [job_row(database, tags=("x", "no_x")) for _ in range(3)] + [job_row(database, "b")]
    with database.read() as tx:
        newest = jobs.page(tx, jobs.Filter(owner="local"), limit=2)
        assert [j.id for j in newest] == [made[2].id, made[1].id]
        rest = jobs.page(tx, jobs.Filter(owner="local"), limit=2, before=newest[-1].id)
        assert [j.id for j in rest] == [made[0].id]
        assert len(jobs.page(tx, jobs.Filter(tags=("x",)), limit=9)) == 3
        assert jobs.page(tx, jobs.Filter(tags=("_",)), limit=9) == []
        assert len(jobs.page(tx, jobs.Filter(statuses=("accepted",)), limit=9)) == 4
        assert jobs.page(tx, jobs.Filter(statuses=("running", "failed", "dismissed")), limit=9) == []
        assert jobs.page(tx, jobs.Filter(created_before=made[0].created - 1), limit=9) == []
        assert jobs.page(tx, jobs.Filter(min_duration=0), limit=9) == []
        assert jobs.line(tx, made[2].platform, 9) == [job.id for job in made]


def test_idempotency_key(database: Database) -> None:
    job = job_row(database)
    with database.write() as tx:
        jobs.remember_key(tx, "local", "k", "body", job.id)
        found = jobs.by_key(tx, "local", "k", "body")
        assert found is not None
        assert found.id == job.id
        assert jobs.by_key(tx, "other", "k", "body") is None
        with pytest.raises(IdempotencyConflict):
            jobs.by_key(tx, "local", "k", "another body")


def test_process_versions(database: Database) -> None:
    process_row(database, "p", "d1")
    with pytest.raises(DuplicatedProcess):
        process_row(database, "p", "d2")
    with database.write() as tx:
        old = processes.get(tx, "p")
        new = processes.NewProcess("p", "local", "local", "2", "cwl", "d1", b"", "application/cwl", {}, {}, old.needs)
        assert processes.replace(tx, new, ME).revision == 2
        assert processes.get(tx, "p").version == "2"
        assert processes.get(tx, "p", 1).version == "1"
        processes.remove(tx, "p", ME)
        with pytest.raises(NoSuchProcess):
            processes.get(tx, "p")
        assert processes.get(tx, "p", 2).version == "2"
    assert process_row(database, "p").revision == 3


def test_immutable_processes(database: Database) -> None:
    process_row(database, "echo", mutable=False)
    with pytest.raises(ImmutableProcess):
        process_row(database, "echo")
    with pytest.raises(ImmutableProcess), database.write() as tx:
        processes.remove(tx, "echo", ME)


def test_uploads_have_quota_expiry_and_one_writer(database: Database) -> None:
    with database.write() as tx:
        up = uploads.open_upload(tx, new_id(), "a", "a", "x.tif", "image/tiff", 60, 3600, quota=100)
        with pytest.raises(QuotaExceeded):
            uploads.open_upload(tx, new_id(), "a", "a", "y.tif", "image/tiff", 60, 3600, quota=100)
        uploads.grow(tx, up, 30)
        with pytest.raises(UploadConflict):
            uploads.grow(tx, up, 20)
        with pytest.raises(NoSuchUpload):
            uploads.get(tx, up.id, Reach("b"))
        assert uploads.complete(tx, up, 60, "0" * 64).complete
        tx.execute(update(uploads_table).values(expires=now() - 1))
        assert [gone.id for gone in uploads.expired(tx)] == [up.id]
        with pytest.raises(NoSuchUpload):
            uploads.get(tx, up.id, Reach("a"))


def test_tokens_are_kept_hashed_and_can_be_revoked(database: Database) -> None:
    secret, hashed = generate()
    assert secret not in hashed
    with database.write() as tx:
        assert not tokens.any_valid(tx)
        made = tokens.add(tx, new_id(), hashed, "a", "a", "laptop", ["read", "run"], 3600)
        assert tokens.by_hash(tx, digest(secret)) == made
        assert tokens.by_hash(tx, digest(secret + "x")) is None
        assert tokens.any_valid(tx)
        assert tokens.revoke(tx, made.id)
        assert not tokens.revoke(tx, made.id)
        assert tokens.by_hash(tx, digest(secret)) is None
        expired = tokens.add(tx, new_id(), "h2", "a", "a", "old", [], 3600)
        assert expired.expires is not None


def test_logs_are_cut_and_cleaned(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LOG_BYTES", 10)
    job = job_row(database)
    with database.write() as tx:
        files.add_logs(tx, job.id, 1, [LogChunk("s", "12\x0034"), LogChunk("t", "567890"), LogChunk("t", "more")])
        rows = files.logs(tx, job.id)
        assert [row.text[:5] for row in rows] == ["12\ufffd34", "56789"]
        assert "cut here" in rows[1].text
        assert [row.stream for row in files.logs(tx, job.id, after=rows[0].id)] == ["t"]
        assert [row.stream for row in files.logs(tx, job.id, stream="s")] == ["s"]


def test_files_and_steps(database: Database) -> None:
    job = job_row(database)
    with database.write() as tx:
        files.announce(tx, job.id, 1, [OutputFile("a.tif", "r1"), OutputFile("b/c.json", "r2")])
        assert files.of_job(tx, job.id) == []
        files.kept(tx, job.id, [files.KeptFile("a.tif", 1, "r1", True, 3, "image/tiff", "ff")])
        assert [f.path for f in files.of_job(tx, job.id)] == ["a.tif"]
        assert [f.path for f in files.not_kept(tx, job.id, 9)] == ["b/c.json"]
        steps = (Step("one", "successful", 1.0, 2.0, 0, command=("echo", "é")), Step("two", "running"))
        files.put_steps(tx, job.id, 1, steps)
        files.put_steps(tx, job.id, 1, steps)
        assert tuple(files.steps(tx, job.id, 1)) == steps


def test_a_lease_has_one_holder(database: Database) -> None:
    with database.write() as tx:
        assert leases.hold(tx, "reconciler", "a", 10)
        assert leases.hold(tx, "reconciler", "a", 10)
        assert not leases.hold(tx, "reconciler", "b", 10)
        leases.give_up(tx, "reconciler", "a")
        assert leases.hold(tx, "reconciler", "b", 10)


def test_platform_rows(database: Database) -> None:
    offer = platform_row(database)
    assert platform_row(database) == offer
