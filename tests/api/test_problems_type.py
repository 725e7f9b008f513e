"""How problem documents are named: problem+json, and plain JSON for a client that takes nothing else."""

from __future__ import annotations

import pytest

from tests.api.server import Server


@pytest.mark.parametrize(
    ("accept", "named"),
    [
        ("*/*", "application/problem+json"),
        ("application/json", "application/json"),
        ("application/json, application/problem+json", "application/problem+json"),
        ("application/json, */*;q=0.1", "application/problem+json"),
    ],
)
def test_the_media_type_of_a_problem(still: Server, accept: str, named: str) -> None:
    answer = still.get("/jobs/nothing", headers={"Accept": accept})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == named
    assert answer.json()["type"].endswith("/no-such-job")
