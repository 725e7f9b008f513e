"""Scripts of other origins: only those that the operator names may use the API, and those in full."""

from __future__ import annotations

import pytest

from tests.api.conftest import MakeServer
from tests.api.server import Server


@pytest.mark.parametrize("origins", [("https://portal.example",), ("https://portal.example", "http://localhost:3000")])
def test_cors_only_where_it_is_allowed(with_settings: MakeServer, origins: tuple[str, ...]) -> None:
    server = with_settings(cors_origins=origins)
    server.ready()
    for origin in origins:
        seen = server.get("/", headers={"Origin": origin})
        assert seen.headers["access-control-allow-origin"] == origin
        assert "origin" in seen.headers["vary"].lower(), "or a cache gives it to others"
    for other in ("https://other.example", "https://portal.example.evil.example", "https://portal.example:444", "null"):
        refused = server.get("/", headers={"Origin": other})
        assert "access-control-allow-origin" not in refused.headers


def test_cors_lets_scripts_of_a_portal_run_jobs_and_read_what_answers_say(with_settings: MakeServer) -> None:
    server = with_settings(cors_origins=("https://portal.example",))
    server.ready()
    mine = {"Origin": "https://portal.example"}
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "prefer,content-type"}
    before = server.request("OPTIONS", "/processes/say/execution", headers=mine | asked)
    assert before.status_code == 200
    assert "POST" in before.headers["access-control-allow-methods"]
    assert "prefer" in before.headers["access-control-allow-headers"].lower()
    assert "access-control-allow-credentials" not in before.headers, "a page of a portal has a token, not our session"
    stranger = server.request("OPTIONS", "/processes/say/execution", headers={"Origin": "https://x.example"} | asked)
    assert "access-control-allow-origin" not in stranger.headers
    body = {"inputs": {"text": "x"}}
    made = server.post("/processes/say/execution", json=body, headers=mine | {"Prefer": "respond-async"})
    assert made.status_code == 201
    exposed = {name.strip() for name in made.headers["access-control-expose-headers"].split(",")}
    assert exposed >= {"Location", "Link", "Preference-Applied"}
    problem = server.get("/jobs/nope", headers=mine)
    assert problem.status_code == 404
    assert problem.headers["access-control-allow-origin"] == "https://portal.example", "problems can be read too"
    assert "access-control-allow-origin" not in server.get("/").headers


def test_cors_is_off_unless_it_is_set(still: Server) -> None:
    answer = still.get("/", headers={"Origin": "http://localhost:3000"})
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
