"""Values in columns of JSON: what no JSON holds is saved all the same."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.dialects import sqlite

from broker.store.tables import Json


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"a": [1, "é", None]}, {"a": [1, "é", None]}),
        ({"command": ["echo", "\ud800", "é"]}, {"command": ["echo", "?", "é"]}),
        ({"a\udcff": (10**30, True, 2**64 - 1, -(2**63))}, {"a?": [1e30, True, 2**64 - 1, -(2**63)]}),
        (None, None),
    ],
)
def test_json(value: Any, found: Any) -> None:
    column, dialect = Json(), sqlite.dialect()
    assert column.process_result_value(column.process_bind_param(value, dialect), dialect) == found
