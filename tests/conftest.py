"""Fixtures that many tests share: a database of its own for each test, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest

from broker.store.database import Database
from broker.store.schema import migrate
from tests.peers.postgres import PostgresPeer, postgres_peer
from tests.security import canaries

hypothesis.settings.register_profile("suite", deadline=None)  # others use the machine too: a slow example is no failure
hypothesis.settings.load_profile("suite")
if canaries.ON:
    canaries.of_suite()  # planted before anything starts


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI every part is there: BROKER_TEST_SKIPS=fail makes a skipped test a failed one."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("BROKER_TEST_SKIPS") == "fail":
        report.outcome = "failed"
        report.longrepr = f"skipped where nothing may be skipped: {report.longrepr}"
    if canaries.ON and (found := canaries.of_suite().found(*(text for _, text in report.sections))):
        report.outcome = "failed"
        report.longrepr = f"a planted secret was printed or logged: {found}"
    return report


@pytest.fixture(scope="session", autouse=True)
def watched_answers() -> Iterator[list[str]]:
    """What was found of planted secrets in answers (BROKER_TEST_CANARY=1)."""
    if not canaries.ON:
        yield []
        return
    with canaries.watched(canaries.of_suite()) as seen:
        yield seen


@pytest.fixture(autouse=True)
def no_leaks(watched_answers: list[str]) -> Iterator[None]:
    """Fails the test whose answers hold a planted secret."""
    yield
    found, watched_answers[:] = list(watched_answers), []
    assert not found, found


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresPeer]:
    """One PostgreSQL server for the session; `postgres.new_database()` gives a fresh, migrated database."""
    with postgres_peer() as peer:
        yield peer


@pytest.fixture(scope="session")
def sqlite_migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy: quicker than a migration for every test."""
    file = tmp_path_factory.mktemp("sqlite") / "migrated.db"
    database = Database(f"sqlite:///{file}")
    migrate(database)
    database.close()
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty, migrated database: the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        file = tmp_path / "broker.db"
        shutil.copyfile(request.getfixturevalue("sqlite_migrated"), file)
        yield f"sqlite:///{file}"
        return
    peer: PostgresPeer = request.getfixturevalue("postgres")
    url = peer.new_database()
    yield url
    peer.drop(url)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()
