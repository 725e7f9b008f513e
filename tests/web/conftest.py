"""What tests of pages share: real servers, as the tests of the API start them; a real provider; a real browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.api.conftest import around as around
from tests.api.conftest import lone as lone
from tests.api.conftest import queue_url as queue_url
from tests.api.conftest import sqlite_url as sqlite_url
from tests.api.conftest import still as still
from tests.api.conftest import with_settings as with_settings
from tests.api.conftest import zygote as zygote
from tests.peers.chromium import chromium
from tests.security.identity import idp as idp
from tests.security.identity import known as known
from tests.security.identity import port as port


@pytest.fixture(scope="session")
def chrome() -> Iterator[Browser]:
    """One browser for all of them; each test has its own contexts."""
    with chromium() as running:
        yield running
