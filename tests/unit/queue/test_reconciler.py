"""The reconciler: one platform that misbehaves hides no other one, and loses nothing it was known for."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from broker.bootstrap import Broker
from broker.errors import PlatformRefused, PlatformUnavailable
from broker.jobs.model import Capabilities
from broker.platform import Health
from broker.queue.reconciler import Reconciler
from broker.settings import Settings
from broker.storage.local import LocalStorage
from broker.store import platforms
from broker.store.database import Database
from tests.peers.scripted import ScriptedPlatform


class Checked(ScriptedPlatform):
    fault: Exception | None = None

    def check(self) -> Health:
        if self.fault is not None:
            raise self.fault
        return Health(True, Capabilities(cores=16.0, ram_mib=65536))


@pytest.mark.parametrize(
    "fault", [PlatformUnavailable("It is away."), PlatformRefused("The token is over."), ValueError("unforeseen")]
)
def test_a_platform_that_does_not_answer_keeps_what_it_offers(
    database: Database, tmp_path: Path, fault: Exception
) -> None:
    settings = Settings(
        state=tmp_path, redis_url=SecretStr("redis://127.0.0.1:1/0"), platforms={"first": {}, "second": {}}
    )
    broker = Broker(settings, database, LocalStorage(tmp_path / "files"))
    first, second = Checked("first"), Checked("second")
    broker.__dict__["platforms"] = {"first": first, "second": second}
    reconciler = Reconciler(broker)
    reconciler.check()
    first.fault = fault
    reconciler.check()
    with database.read() as tx:
        found = platforms.candidates(tx)
    assert [(one.name, one.available, one.capabilities.cores) for one in found] == [
        ("first", False, 16.0),
        ("second", True, 16.0),
    ]
