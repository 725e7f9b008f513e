"""The gate of `make check` sees a requirement without a test, and a test without a requirement."""

from __future__ import annotations

import pytest

from tests.conformance import requirements


def test_every_claimed_requirement_has_a_test() -> None:
    assert requirements.problems(requirements.requirements(), requirements.tests()) == []


def test_a_missing_test_is_seen() -> None:
    have = requirements.tests()
    del have["test_req_core_landingpage_op"]
    found = requirements.problems(requirements.requirements(), have | {"test_req_core_nothing": "x.py"})
    assert found == [
        "/req/core/landingpage-op has no test test_req_core_landingpage_op",
        "test_req_core_nothing (x.py) is named after no requirement",
    ]


def test_a_class_of_which_nothing_is_known_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "claimed", lambda: [("ogcapi-processes-1/1.0", "new")])
    assert requirements.problems([], {}) == ["no requirements are known of ('ogcapi-processes-1/1.0', 'new')"]
