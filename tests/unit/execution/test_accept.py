"""Accept: what is counted on is there, one key makes one job, and a batch is no common fate."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from broker.access.principal import LOCAL
from broker.errors import IdempotencyConflict, NoSuchUpload
from broker.execution import accept
from broker.execution.accept import USED_SECONDS, ExecuteRequest, Key, Ticket
from broker.jobs.model import Job, StageItem
from broker.packages import cwl
from broker.packages.inputs import Order
from broker.store import deliveries, jobs, uploads
from broker.store.database import Database, new_id
from broker.store.jobs import Filter
from broker.store.tables import now
from broker.store.tables import uploads as table
from tests.unit.store.rows import platform_row, process_row


def upload_row(database: Database, ttl: float) -> str:
    with database.write() as tx:
        up = uploads.open_upload(tx, new_id(), LOCAL.owner, LOCAL.project, "x", "text/plain", 1, ttl, quota=10)
        return uploads.complete(tx, up, 1, "0" * 64).id


@pytest.fixture
def ready(database: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """One process whose inputs are taken as they are: only the uploads matter here."""

    def order(inspection: object, inputs: dict[str, str], **_: object) -> Order:
        return Order({}, tuple(StageItem(name, url=f"upload:{upload}") for name, upload in inputs.items()))

    monkeypatch.setattr(accept, "job_order", order)
    monkeypatch.setattr(cwl.Inspection, "from_json", lambda value: value)
    platform_row(database)
    process_row(database)
    return database


def prepared(database: Database, request: ExecuteRequest, key: Key | None = None) -> Ticket:
    with database.read() as tx:
        ticket = accept.prepare(tx, LOCAL, "p", request, upload_id=lambda href: None, key=key)
    assert isinstance(ticket, Ticket)
    return ticket


def test_an_upload_lives_on_with_the_job_that_counts_on_it(ready: Database) -> None:
    soon, late = upload_row(ready, 60.0), upload_row(ready, 10 * USED_SECONDS)
    with ready.read() as tx:
        before = uploads.get(tx, late).expires
    request = ExecuteRequest({"a": soon, "b": late, "c": soon})
    (outcome,) = accept.admit(ready, [prepared(ready, request)])
    assert not isinstance(outcome, Exception)
    assert outcome[1]
    with ready.read() as tx:
        kept, same = uploads.get(tx, soon), uploads.get(tx, late)
    assert kept.expires - kept.created >= USED_SECONDS
    assert same.expires == before


def test_what_cannot_be_written_spoils_no_other_ticket_of_its_batch(ready: Database) -> None:
    gone = upload_row(ready, 60.0)
    tickets = [
        prepared(ready, request) for request in (ExecuteRequest(), ExecuteRequest({"a": gone}), ExecuteRequest())
    ]
    with ready.write() as tx:
        tx.execute(update(table).values(expires=now() - 1))
    first, without, last = accept.admit(ready, tickets)
    assert isinstance(without, NoSuchUpload)
    with ready.read() as tx:
        assert {job.id for job in jobs.page(tx, Filter(), limit=9)} == {tickets[0].job.id, tickets[2].job.id}
        assert len(deliveries.pending(tx)) == 2
    assert not isinstance(first, Exception)
    assert not isinstance(last, Exception)


def test_one_key_makes_one_job_also_within_a_batch(ready: Database) -> None:
    same, other = Key("k", "1" * 64), Key("k", "2" * 64)
    tickets = [prepared(ready, ExecuteRequest(), key) for key in (same, same, other)]
    made, again, conflict = accept.admit(ready, tickets)
    assert isinstance(made, tuple)
    assert isinstance(again, tuple)
    assert made[1] is True
    assert made[0].id == again[0].id
    assert again[1] is False
    assert isinstance(conflict, IdempotencyConflict)
    with ready.read() as tx:
        found = accept.prepare(tx, LOCAL, "p", ExecuteRequest(), upload_id=lambda href: None, key=same)
        assert isinstance(found, Job)
        assert found.id == tickets[0].job.id
        assert len(jobs.page(tx, Filter(), limit=9)) == 1
