"""The pages of publications in a browser without scripts: choose, check, publish; agree, refuse, withdraw."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from broker.api.publishfields import fields_of
from tests.api.accounts import Account, account
from tests.api.conftest import MakeServer
from tests.api.server import Server
from tests.peers.osc import bare

HERE = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
REQUEST: dict[str, Any] = {
    "title": "Said <things>",
    "description": "What a test said.",
    "project": "fairsendd",
    "licence": "CC-BY-4.0",
    "themes": ["land"],
    "bbox": [10.0, 50.0, 11.0, 51.0],
    "interval": ["2026-05-01T00:00:00Z", "2026-05-01T00:00:00Z"],
    "access": [{"href": "https://data.example.org/said", "title": "The data"}],
    "extent": {"bbox": [10, 50, 11, 51], "interval": ["2026-05-01T00:00:00Z", None]},
}
SCOPES = ("read", "run", "deploy", "publish")


@pytest.fixture(scope="module")
def remote(tmp_path_factory: pytest.TempPathFactory) -> str:
    return bare(tmp_path_factory.mktemp("catalog") / "osc.git")


@pytest.fixture
def server(with_settings: MakeServer, remote: str) -> Server:
    live = {"kind": "bundle", "title": "The live catalog", "remote": remote, "approval": True}
    test = {**live, "title": "The test catalog", "test": True, "approval": False}
    return with_settings(publish={"targets": {"live": live, "test": test}})


@pytest.fixture
def ada(server: Server) -> Account:
    return account(server, "ada", *SCOPES)


@pytest.fixture
def job(server: Server, ada: Account) -> str:
    server.platform()
    assert ada("POST", "/processes", data=TOOL, headers={"Content-Type": "application/cwl"}).status_code == 201
    made = ada("POST", "/processes/say/execution", json={"inputs": {}}, headers={"Prefer": "respond-async"})
    found = str(made.json()["jobID"])
    server.succeed(found, {"said": {"class": "File", "location": "said.txt"}}, {"said.txt": b"hello"})
    return found


TOOL = "cwlVersion: v1.2\nclass: CommandLineTool\nid: say\nbaseCommand: [echo]\ninputs: []\noutputs: {said: stdout}\n"


def form(ada: Account, job: str, do: str, request: dict[str, Any], *targets: str, **fields: str) -> Any:
    names = {f"target.{number}": name for number, name in enumerate(targets)}
    data = {**fields_of(request), **fields, **names, "do": do}
    return ada("POST", f"/jobs/{job}/publications/new", data=data, headers=HERE)


def test_first_where_to_then_what_with_pick_lists(ada: Account, job: str) -> None:
    page = ada.page(f"/jobs/{job}?f=html")
    assert f'href="/jobs/{job}/publications/new"' in page
    first = ada.page(f"/jobs/{job}/publications/new")
    assert 'value="live"' in first
    assert "The test catalog" in first
    assert 'name="title"' not in first
    filled = ada.page(f"/jobs/{job}/publications/new?target=test")
    assert 'value="test" checked' in filled
    assert '<option value="land">Land</option>' in filled
    assert 'name="themes.0"' in filled
    assert 'list="list-themes"' in filled
    assert re.search(r'id="project-error"><span class="error">is missing', filled), (
        "what is missing stands beside its field"
    )
    assert "Something is missing" in filled


def test_what_is_wrong_is_beside_its_field_and_what_was_typed_stays(ada: Account, job: str) -> None:
    wrong = {**REQUEST, "themes": ["lnad"], "contacts": [{"name": "Ada", "orcid": "0000-0002-1825-0098"}]}
    for do, status in (("check", 200), ("publish", 400)):
        answer = form(ada, job, do, wrong, "test")
        assert answer.status_code == status
        text = html.unescape(answer.text)
        assert re.search(r'id="themes\.0-error"><span class="error">[^<]*there is no \'lnad\'', text)
        assert re.search(r'id="contacts\.0\.orcid-error"><span class="error">[^<]*not an ORCID', text)
        assert 'value="Said <things>"' in text
    assert ada("GET", "/publications").json()["publications"] == []
    broken = form(ada, job, "check", REQUEST, "test", others="{")
    assert broken.status_code == 400
    assert re.search(r'id="others-error">.*is not a JSON object', broken.text)
    assert "Said &lt;things&gt;" in broken.text


def test_the_diff_is_shown_before_anything_is_sent(ada: Account, job: str) -> None:
    answer = form(ada, job, "check", REQUEST, "test")
    assert "Nothing is missing" in answer.text, answer.text
    assert "+++ b/experiments/" in answer.text
    assert "Said &lt;things&gt;" in answer.text
    assert "<things>" not in answer.text


def test_published_listed_and_withdrawn(ada: Account, job: str) -> None:
    answer = form(ada, job, "publish", REQUEST, "test")
    assert answer.status_code == 303, answer.text
    place = answer.headers["location"]
    page = ada.page(place)
    assert "Said &lt;things&gt;" in page
    assert "data-poll" in page
    listed = ada.page("/publications?f=html")
    assert place.rpartition("/")[2].removesuffix("?f=html") in listed
    assert ada.page("/publications?f=html&state=live").count("Said") == 0
    assert "Said &lt;things&gt;" in ada.page(f"/jobs/{job}?f=html")
    done = ada("POST", place.removesuffix("?f=html"), data={"do": "withdraw"}, headers=HERE)
    assert done.status_code == 303
    after = ada.page(place)
    assert "withdrawn" in after
    assert "data-poll" not in after
    assert 'value="withdraw"' not in after


def test_who_may_agrees_or_refuses(server: Server, ada: Account, job: str) -> None:
    place = form(ada, job, "publish", REQUEST, "live").headers["location"]
    root = account(server, "root", *SCOPES, "admin")
    path = place.removesuffix("?f=html")
    assert 'value="approve"' not in ada.page(place)
    assert ada("POST", path, data={"do": "approve"}, headers=HERE).status_code == 403
    assert 'value="approve"' in root.page(place)
    assert root("POST", path, data={"do": "reject", "reason": ""}, headers=HERE).status_code == 400
    assert root("POST", path, data={"do": "reject", "reason": "Another lake."}, headers=HERE).status_code == 303
    assert "Another lake." in ada.page(place)
    again = form(ada, job, "publish", REQUEST, "live").headers["location"]
    page = root.page(again)
    assert "+++ b/experiments/" in page
    digest = re.search(r'name="shown" value="([0-9a-f]{64})"', page)
    assert digest
    path = again.removesuffix("?f=html")
    assert root("GET", f"{path}/diff").headers["ETag"] == f'"{digest[1]}"'
    stale = root("POST", path, data={"do": "approve", "shown": "0" * 64}, headers=HERE)
    assert (stale.status_code, "not what you were shown" in stale.text) == (409, True)
    assert root("POST", path, data={"do": "approve", "shown": digest[1]}, headers=HERE).status_code == 303
    assert "awaiting" not in ada("GET", again.removesuffix("?f=html")).json()["state"]


def test_who_may_not_publish_is_shown_no_form(server: Server, job: str) -> None:
    reader, bob = account(server, "ada", "read", "run"), account(server, "bob", *SCOPES)
    assert "publications/new" not in reader.page(f"/jobs/{job}?f=html")
    for who, status in ((reader, 403), (bob, 404)):
        assert who("GET", f"/jobs/{job}/publications/new", headers=HERE).status_code == status
        assert who("POST", f"/jobs/{job}/publications/new", data={"do": "publish"}, headers=HERE).status_code == status


def test_where_nothing_is_configured_that_is_said(with_settings: MakeServer) -> None:
    plain = with_settings()
    plain.ready()
    job = plain.execute()
    plain.succeed(job, {})
    assert "publications/new" not in plain.get(f"/jobs/{job}?f=html", headers=HERE).text
    assert "operator of this broker configures" in plain.get(f"/jobs/{job}/publications/new", headers=HERE).text


def test_what_a_project_publishes_with_is_set_and_drafted(server: Server, ada: Account, job: str) -> None:
    assert ada("POST", "/projects", json={"id": "lab", "title": "The lab"}).status_code == 201
    place = "/projects/lab/publishing"
    assert place in ada.page("/projects/lab?f=html")
    page = ada.page(f"{place}?f=html")
    assert '<option value="land">Land</option>' in page
    wrong = ada("POST", place, data={**fields_of({}), "themes.0": "land", "keywords": "a, a"}, headers=HERE)
    assert wrong.status_code == 400
    assert re.search(r'id="keywords-error"><span class="error">must be a list', wrong.text)
    assert 'name="themes.0" maxlength="200" value="land"' in wrong.text
    kept = ada("POST", place, data=fields_of({"themes": ["land"], "contract_number": "4000"}), headers=HERE)
    assert kept.status_code == 303
    assert ada("GET", place).json()["request"] == {"themes": ["land"], "contract_number": "4000"}
    root = account(server, "root", *SCOPES, "admin")
    assert 'name="officer.0"' not in ada.page(f"{place}?f=html")
    assert 'name="officer.0" value="ada"' in root.page(f"{place}?f=html")
    named = root("POST", place, data={"do": "officers", "officer.0": "ada"}, headers=HERE)
    assert named.status_code == 303
    assert ada("GET", place).json() == ada("GET", place).json() | {
        "officers": ["ada"],
        "request": {"themes": ["land"], "contract_number": "4000"},
    }
