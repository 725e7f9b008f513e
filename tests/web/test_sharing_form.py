"""The form that shares: on a page of its own, as it is part of the pages of processes, jobs and uploads."""

from __future__ import annotations

import pytest

from tests.api.accounts import ACCESS, Account, browser
from tests.api.conftest import MakeServer
from tests.api.server import Server


@pytest.fixture
def site(with_settings: MakeServer) -> Server:
    return with_settings(access=ACCESS)


@pytest.fixture
def anna(site: Server) -> Account:
    anna = browser(site, "a", "Anna")
    anna.form("/projects", id="water", title="Water & <ice>")
    return anna


def an_upload(who: Account) -> str:
    headers = {"Origin": who.server.url, "X-CSRF-Token": who.csrf, "Content-Type": "a/b"}
    return "/uploads/" + str(who("POST", "/uploads", data=b"x", headers=headers).json()["id"])


def test_sharing_by_form(anna: Account) -> None:
    path = an_upload(anna)
    text = anna.page(f"{path}/sharing")
    assert "Only its owner sees it." in text
    assert "the project Water &amp; &lt;ice&gt;" in text
    done = anna.form(f"{path}/sharing", **{"with": "project:water"})
    assert (done.status_code, done.headers["location"]) == (303, f"{anna.server.url}{path}?f=html")
    found = anna("GET", f"{path}/sharing", headers={"Accept": "application/json"}).json()
    assert (found["shared"], found["project"]) == ("project", "water")
    assert '<option value="project:water" selected>' in anna.page(f"{path}/sharing")
    anna.form(f"{path}/sharing", **{"with": "public"})
    assert "Everybody who uses this broker sees it." in anna.page(f"{path}/sharing")


@pytest.mark.parametrize(
    ("chosen", "status"), [("", 400), ("all", 400), ("project:", 404), ("project:none", 404), ("project", 400)]
)
def test_what_cannot_be_done_is_said_on_the_form(anna: Account, chosen: str, status: int) -> None:
    path = an_upload(anna)
    answer = anna.form(f"{path}/sharing", **{"with": chosen})
    assert answer.status_code == status
    assert 'role="alert"' in answer.text
    assert 'aria-describedby="sharing-error"' in answer.text
    assert "Only its owner sees it." in answer.text


def test_who_only_sees_it_has_no_form(anna: Account) -> None:
    path = an_upload(anna)
    bert = browser(anna.server, "b", "Bert")
    assert bert("GET", f"{path}/sharing").status_code == 404
    assert bert.form(f"{path}/sharing", **{"with": "public"}).status_code == 404
    anna.form(f"{path}/sharing", **{"with": "public"})
    text = bert.page(f"{path}/sharing")
    assert "Everybody who uses this broker sees it." in text
    assert "Share with" not in text
    assert bert.form(f"{path}/sharing", **{"with": "private"}).status_code in (403, 404)
