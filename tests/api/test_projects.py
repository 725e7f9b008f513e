"""Projects and invitations by API and by page."""

from __future__ import annotations

import re

import pytest

from broker.store import audit
from tests.api.accounts import ACCESS, Account, account, browser
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem
from tests.api.server import Server


@pytest.fixture
def alice(api: Server) -> Account:
    return account(api, "alice")


@pytest.fixture
def bob(api: Server) -> Account:
    return account(api, "bob")


def test_the_life_of_a_project(alice: Account, bob: Account) -> None:
    made = alice("POST", "/projects", json={"id": "water", "title": "Water"})
    assert made.status_code == 201
    assert made.headers["location"].endswith("/projects/water")
    assert made.json()["part"] == "maintainer"
    valid_problem(alice("POST", "/projects", json={"id": "water"}), 409)
    valid_problem(bob("GET", "/projects/water"), 404)
    invited = alice("POST", "/projects/water/invitations", json={"part": "member", "note": "welcome", "days": 1})
    assert (invited.status_code, invited.headers["cache-control"]) == (201, "no-store")
    link = invited.json()["href"]
    assert link not in alice("GET", "/projects/water/invitations").text
    assert bob("GET", link).json()["title"] == "Water"
    assert bob("POST", link).json()["part"] == "member"
    for method in ("GET", "POST"):
        valid_problem(bob(method, link), 404)
    assert [one["person"] for one in bob("GET", "/projects/water/members").json()["members"]] == ["alice", "bob"]
    assert bob("GET", "/projects/water/members/me").json()["part"] == "member"
    valid_problem(bob("GET", "/projects/water/invitations"), 403)
    valid_problem(bob("PUT", "/projects/water/members/bob", json={"part": "maintainer"}), 403)
    assert alice("PUT", "/projects/water/members/bob", json={"part": "maintainer"}).status_code == 200
    assert bob("PUT", "/projects/water", json={"title": "Clear water"}).json()["title"] == "Clear water"
    assert alice("DELETE", "/projects/water/members/me").status_code == 204
    valid_problem(bob("DELETE", "/projects/water/members/me"), 409)
    assert alice("GET", "/projects").json()["projects"] == []
    assert bob("DELETE", "/projects/water").status_code == 204
    valid_problem(bob("GET", "/projects/water"), 404)


def test_the_list_in_pages(alice: Account, bob: Account) -> None:
    for name in ("one", "three", "two"):
        alice("POST", "/projects", json={"id": name})
    first = alice("GET", "/projects?limit=2").json()
    assert [one["id"] for one in first["projects"]] == ["one", "three"]
    following = next(one["href"] for one in first["links"] if one["rel"] == "next")
    assert [one["id"] for one in alice("GET", following).json()["projects"]] == ["two"]
    assert bob("GET", "/projects?all=true").json()["projects"] == []
    operator = account(alice.server, "root", "read", "run", "admin")
    assert len(operator("GET", "/projects?all=true").json()["projects"]) == 3
    assert operator("GET", "/projects").json()["projects"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/projects", {"id": "Not A Slug"}),
        ("/projects", {"id": 7}),
        ("/projects", {"title": "no id"}),
        ("/projects", {"id": "ok-id", "title": "x" * 201}),
        ("/projects", {"id": "ok-id", "color": "blue"}),
        ("/projects/mine/invitations", {"part": "owner"}),
        ("/projects/mine/invitations", {"part": ["member"]}),
        ("/projects/mine/invitations", {"days": "x"}),
        ("/projects/mine/invitations", {"days": True}),
        ("/projects/mine/invitations", {"note": "a\nb"}),
    ],
)
def test_what_does_not_fit_is_said(alice: Account, path: str, body: dict[str, object]) -> None:
    alice("POST", "/projects", json={"id": "mine"})
    found = valid_problem(alice("POST", path, json=body), 400)
    assert found["errors"][0]["pointer"].startswith("/")


def test_reading_tokens_change_nothing(alice: Account) -> None:
    reader = account(alice.server, "alice", "read")
    valid_problem(reader("POST", "/projects", json={"id": "water"}), 403)
    assert reader("GET", "/projects").status_code == 200


# ---- pages


@pytest.fixture
def site(with_settings: MakeServer) -> Server:
    return with_settings(access=ACCESS)


def test_the_pages_from_the_first_project_to_its_end(site: Server) -> None:
    anna, bert = browser(site, "a", "Anna <A>"), browser(site, "b", "Bert")
    assert "Anna &lt;A&gt;" in anna.page("/projects")
    made = anna.form("/projects", id="water", title="Water & <ice>")
    assert (made.status_code, made.headers["location"]) == (303, f"{site.url}/projects/water")
    text = anna.page("/projects/water")
    assert "Water &amp; &lt;ice&gt;" in text
    assert "<ice>" not in text
    assert f'value="{anna.csrf}"' in text
    shown = anna.form("/projects/water", do="invite", part="member", days="3", note="welcome")
    assert shown.status_code == 200
    found = re.search(r"/invitations/[0-9a-f]{48}", shown.text)
    assert found
    invitation = bert.page(found[0])
    for words in ("Anna", "welcome", "Accept", "broker invitation accept"):
        assert words in invitation
    joined = bert.form(found[0])
    assert (joined.status_code, joined.headers["location"]) == (303, f"{site.url}/projects/water")
    assert "Bert (you)" in bert.page("/projects/water")
    assert "Invite somebody" not in bert.page("/projects/water")
    for fields in (
        {"do": "part", "person": bert.id, "part": "viewer"},
        {"do": "rename", "title": "Ice"},
        {"do": "remove", "person": bert.id},
    ):
        assert anna.form("/projects/water", **fields).status_code == 303
    assert [one["name"] for one in anna("GET", "/projects/water/members").json()["members"]] == ["Anna <A>"]
    refused = anna.form("/projects/water", do="leave")
    assert refused.status_code == 409
    assert "What to do" in refused.text
    assert anna.form("/projects/water", do="delete", sure="").status_code == 400
    gone = anna.form("/projects/water", do="delete", sure="water")
    assert (gone.status_code, gone.headers["location"]) == (303, f"{site.url}/projects")
    with site.database.read() as tx:
        assert [one for one in audit.page(tx) if one["action"] != "request"][-1]["action"] == "delete-project"


def test_invitations_are_revoked_by_a_form(site: Server) -> None:
    anna = browser(site, "a", "Anna")
    anna.form("/projects", id="water", title="")
    anna.form("/projects/water", do="invite", part="viewer", days="3", note="")
    [one] = anna("GET", "/projects/water/invitations").json()["invitations"]
    assert anna.form("/projects/water", do="revoke", invitation=one["id"]).status_code == 303
    assert anna("GET", "/projects/water/invitations").json()["invitations"] == []


def test_forms_of_other_sites_do_nothing(site: Server) -> None:
    anna = browser(site, "a", "Anna")
    for origin, csrf in (("https://evil.invalid", anna.csrf), (site.url, ""), (site.url, "x" * 64), ("", anna.csrf)):
        headers = {"Origin": origin} if origin else {}
        for path, fields in (("/projects", {"id": "water"}), ("/projects/water", {"do": "delete", "sure": "water"})):
            answer = anna("POST", path, data={"csrf": csrf, **fields}, headers=headers)
            assert answer.status_code == 403, (origin, csrf)
    assert anna("GET", "/projects").json()["projects"] == []


def test_every_page_shows_its_twins_and_needs_no_script(site: Server) -> None:
    anna = browser(site, "a", "Anna")
    anna.form("/projects", id="water", title="It's")
    for path in ("/projects", "/projects/water"):
        text = anna.page(path)
        assert "The same from the command line" in text
        assert "curl" in text
        assert "broker project" in text
        assert "<script" not in text
        assert 'lang="en"' in text
        assert "Skip to the content" in text
        assert "Log out" in text
    assert "broker project rename water &#39;It&#39;&#34;&#39;&#34;&#39;s&#39;" in anna.page("/projects/water")


def test_who_is_not_logged_in_finds_the_way(site: Server) -> None:
    stranger = Account(site, "", {"Accept": "text/html"})
    answer = stranger("GET", "/projects/water")
    if answer.status_code == 401:
        assert "/login?" in answer.text
    else:
        assert answer.status_code in (302, 303)
        assert "/login" in answer.headers["location"]
    valid_problem(stranger("GET", "/projects/water", headers={"Accept": "application/problem+json"}), 401)
