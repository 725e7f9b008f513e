"""What tests of attacks share: real servers, as the tests of the API start them."""

from __future__ import annotations

from tests.api.conftest import around as around
from tests.api.conftest import queue_url as queue_url
from tests.api.conftest import sqlite_url as sqlite_url
from tests.api.conftest import with_settings as with_settings
from tests.api.conftest import zygote as zygote
from tests.security.identity import idp as idp
from tests.security.identity import known as known
from tests.security.identity import port as port
from tests.unit.runner.conftest import own_runner as own_runner
from tests.unit.runner.conftest import runner as runner
