"""Publications over the API: asked for, checked, listed, decided on; and with an execution."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from broker.jobs.publication import State
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem
from tests.api.server import Server
from tests.peers.osc import offered
from tests.unit.results.samples import a_request


@pytest.fixture
def api(with_settings: MakeServer, tmp_path: Path) -> Server:
    server = with_settings(publish=offered(tmp_path / "catalog"))
    server.ready()
    return server


def ended(api: Server, **body: Any) -> str:
    job = api.execute(**body)
    api.succeed(job, {"said": {"class": "File", "location": "said.txt", "basename": "said.txt"}}, {"said.txt": b"hi"})
    return job


def asked(**changes: Any) -> dict[str, Any]:
    return {"target": "test", **a_request(**changes)}


def test_from_the_request_to_what_is_listed(api: Server) -> None:
    job = ended(api)
    made = api.post(f"/jobs/{job}/publications", json=asked())
    assert made.status_code == 201, made.text
    (one,) = made.json()["publications"]
    assert made.headers["location"].endswith(f"/publications/{one['id']}")
    assert (one["state"], one["target"], one["jobs"]) == ("pending", "test", [job])
    whole = api.get(f"/publications/{one['id']}").json()
    assert [(event["state"], event["by"]) for event in whole["events"]] == [("pending", "local")]
    other = ended(api)
    api.post(f"/jobs/{other}/publications", json=asked())
    listed = api.get("/publications", params={"limit": 1}).json()
    assert [entry["jobs"] for entry in listed["publications"]] == [[other]]
    following = next(link["href"] for link in listed["links"] if link["rel"] == "next")
    assert [entry["id"] for entry in api.get(following).json()["publications"]] == [one["id"]]
    assert [entry["id"] for entry in api.get(f"/publications?job={job}").json()["publications"]] == [one["id"]]
    assert api.get("/publications?state=live").json()["publications"] == []
    valid_problem(api.get("/publications?state=made-up"), 400)
    valid_problem(api.delete(f"/jobs/{job}/results"), 409)
    assert api.delete(f"/publications/{one['id']}").json()["state"] == "withdrawn"
    assert api.delete(f"/jobs/{job}/results").status_code == 200


def test_a_check_says_what_is_missing_and_keeps_nothing(api: Server) -> None:
    job = ended(api)
    answer = api.post(f"/jobs/{job}/publications?check=true", json={"target": "test", "title": "Said"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert not found["ok"]
    missing = {one["field"] for one in found["findings"] if one["level"] == "error"}
    assert {"project", "themes", "description", "licence", "extent"} <= missing
    refused = valid_problem(api.post(f"/jobs/{job}/publications", json={"target": "test", "title": "Said"}), 400)
    assert {f"/{field}" for field in missing} == {one["pointer"] for one in refused["errors"]}
    assert api.get("/publications").json()["publications"] == []
    zipped = api.post(f"/jobs/{job}/publications/bundle", json=asked())
    assert zipped.headers["content-type"] == "application/zip"
    assert "changes.diff" in zipfile.ZipFile(io.BytesIO(zipped.content)).namelist()


def test_what_is_no_request(api: Server) -> None:
    job = ended(api)
    for body, pointer in (
        ({}, "/target"),
        ({"target": []}, "/target"),
        ({"target": "mars"}, "/target"),
        ({**asked(), "jobs": ["another"]}, "/jobs"),
        ({**asked(), "licnce": "MIT"}, "/licnce"),
    ):
        problem = valid_problem(api.post(f"/jobs/{job}/publications", json=body), 400)
        assert [one["pointer"] for one in problem["errors"]] == [pointer], body
    valid_problem(api.post("/jobs/made-up/publications", json=asked()), 404)


def test_what_somebody_decides(api: Server) -> None:
    job = ended(api)
    first, second = (api.published(job) for _ in range(2))
    valid_problem(api.post(f"/publications/{first}/reject", json={}), 400)
    assert api.post(f"/publications/{first}/reject", json={"reason": "no"}).json()["message"] == "It was refused: no"
    assert api.post(f"/publications/{second}/approve").json()["state"] == "pending"
    valid_problem(api.post(f"/publications/{second}/promote"), 409)
    proposed = api.published(job, state=State.PROPOSED)
    promoted = api.post(f"/publications/{proposed}/promote")
    assert (promoted.status_code, promoted.json()["promotes"]) == (201, proposed)
    assert api.get(f"/publications/{proposed}").json()["promotedTo"] == [promoted.json()["id"]]


def test_with_an_execution(api: Server) -> None:
    job = ended(api, publish=asked())
    (made,) = api.get(f"/publications?job={job}").json()["publications"]
    assert (made["state"], made["target"]) == ("pending", "test")
    for wish, pointer in (({"target": "mars"}, "/publish/target"), ("test", "/publish"), ({}, "/publish/target")):
        body = {"inputs": {"text": "hi"}, "publish": wish}
        for path in ("execution", "check"):
            problem = valid_problem(api.post(f"/processes/say/{path}", json=body), 400)
            assert [one["pointer"] for one in problem["errors"]] == [pointer]
