"""Rates of requests over HTTP: whom they count for, and what the answers say."""

from __future__ import annotations

import re

from broker.settings import Rate
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem
from tests.api.server import Server
from tests.api.test_quotas import EXECUTE, token


def test_nothing_is_counted_unless_it_is_asked_for(lone: Server) -> None:
    assert lone.site.rates is None
    assert "ratelimit" not in lone.get("/jobs").headers


def test_requests_of_one_person_hold_up_nobody_else(with_settings: MakeServer) -> None:
    api = with_settings(rate=Rate(requests=5))
    alice, bob = token(api.database, "alice"), token(api.database, "bob")
    api.site.gate.forget()
    answers = [api.get("/jobs", headers=alice) for _ in range(6)]
    assert [one.status_code for one in answers[:5]] == [200] * 5
    refused = answers[5]
    valid_problem(refused, 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 120
    assert refused.headers["ratelimit-policy"] == '"requests";q=5;w=60'
    assert re.fullmatch(r'"requests";r=0;t=\d+', refused.headers["ratelimit"])
    assert re.fullmatch(r'"requests";r=4;t=\d+', answers[0].headers["ratelimit"])
    assert api.get("/jobs", headers=bob).status_code == 200


def test_submissions_have_a_rate_of_their_own(with_settings: MakeServer) -> None:
    api = with_settings(rate=Rate(submissions=2))
    api.ready()
    assert [api.post("/processes/say/execution", **EXECUTE).status_code for _ in range(3)] == [201, 201, 429]
    assert api.get("/jobs").status_code == 200


def test_who_guesses_is_stopped_and_who_is_known_goes_on(with_settings: MakeServer) -> None:
    api = with_settings(rate=Rate(failures=3))
    alice = token(api.database, "alice")
    late = token(api.database, "carol")
    api.site.gate.forget()
    assert api.get("/jobs", headers=alice).status_code == 200
    guesses = [api.get("/jobs", headers={"Authorization": f"Bearer eb_{n}"}).status_code for n in range(5)]
    assert guesses == [401, 401, 401, 429, 429]
    assert api.get("/jobs", headers=alice).status_code == 200, "the credential was good just now"
    assert api.get("/jobs", headers=late).status_code == 429
    assert api.get("/jobs").status_code == 401, "no credential is no guess"
