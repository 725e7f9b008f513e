"""Accept: an upload that a job counts on is there when the job is dispatched."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from broker.access.principal import LOCAL
from broker.errors import NoSuchUpload
from broker.execution import accept
from broker.execution.accept import USED_SECONDS, ExecuteRequest
from broker.jobs.model import StageItem
from broker.packages import cwl
from broker.packages.inputs import Order
from broker.store import uploads
from broker.store.database import Database, new_id
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


def test_an_upload_lives_on_with_the_job_that_counts_on_it(ready: Database) -> None:
    soon, late = upload_row(ready, 60.0), upload_row(ready, 10 * USED_SECONDS)
    with ready.read() as tx:
        before = uploads.get(tx, late).expires
    request = ExecuteRequest({"a": soon, "b": late, "c": soon})
    assert accept.accept(ready, LOCAL, "p", request, upload_id=lambda href: None)[1]
    with ready.read() as tx:
        kept, same = uploads.get(tx, soon), uploads.get(tx, late)
    assert kept.expires - kept.created >= USED_SECONDS
    assert same.expires == before


def test_an_upload_that_is_gone_by_now_makes_no_job(ready: Database) -> None:
    gone = upload_row(ready, 60.0)
    with ready.write() as tx:
        tx.execute(update(table).values(expires=now() - 1))
    with pytest.raises(NoSuchUpload):
        accept.accept(ready, LOCAL, "p", ExecuteRequest({"a": gone}), upload_id=lambda href: None)
