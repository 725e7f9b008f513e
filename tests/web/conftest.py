"""What tests of pages share: real servers, as the tests of the API start them; a real provider; a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.api.conftest import Around
from tests.api.conftest import around as around
from tests.api.conftest import lone as lone
from tests.api.conftest import queue_url as queue_url
from tests.api.conftest import sqlite_url as sqlite_url
from tests.api.conftest import still as still
from tests.api.conftest import with_settings as with_settings
from tests.api.conftest import zygote as zygote
from tests.api.server import Server
from tests.peers.chromium import chromium
from tests.peers.osc import offered
from tests.security.identity import Known
from tests.security.identity import idp as idp
from tests.security.identity import known as known
from tests.security.identity import port as port
from tests.security.people import TestIssuer
from tests.security.test_identity_browser import log_in
from tests.web.site import EVERY_KIND, Site


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """One browser for a file, each test has its own contexts. While it is open, nothing else in this process can have
    an event loop."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def signed_in(known: Known, chrome: Browser) -> Iterator[tuple[Site, BrowserContext]]:
    """An operator logs in at the real provider; all there is is theirs."""
    site = Site(known.server, cast(TestIssuer, known.idp))
    site.of(known.id_of("olga"))
    context = chrome.new_context()
    context.set_default_timeout(20_000)
    log_in(context.new_page(), known, "olga")
    yield site, context
    context.close()


@pytest.fixture(scope="module")
def opened(
    around: Around, sqlite_migrated: Path, tmp_path_factory: pytest.TempPathFactory, chrome: Browser
) -> Iterator[tuple[Site, BrowserContext]]:
    """Nobody is asked who they are."""
    state = tmp_path_factory.mktemp("opened")
    file = state / "one.db"
    file.write_bytes(sqlite_migrated.read_bytes())
    with around.server(f"sqlite:///{file}", state, publish=offered(state / "catalog")) as server:
        site = Site(server, cast(TestIssuer, None))
        site.open()
        context = chrome.new_context()
        context.set_default_timeout(20_000)
        yield site, context
        context.close()


@pytest.fixture
def every(lone: Server) -> Server:
    """An API with a platform and the process `every-kind`, which has an input of every kind."""
    lone.ready()
    assert lone.deploy(EVERY_KIND.read_text()).status_code == 201
    return lone
