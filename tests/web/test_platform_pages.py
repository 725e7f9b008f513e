"""Pages of platforms, budgets and usage, and what operators do there, as browsers send it."""

from __future__ import annotations

import time

import pytest
from pydantic import BaseModel, SecretStr

import adapters
from broker.access.principal import Scope
from broker.api.platformoptions import ABOUT_IT, given, offered, options_of
from broker.jobs.terms import Terms
from broker.store import platforms
from tests.api.accounts import ACCESS, Account, browser
from tests.api.conftest import MakeServer
from tests.api.server import PLATFORM, Server
from tests.api.test_platforms import spent
from tests.web.test_account_pages import BROWSER, alerts

FAR = "/platforms/far"
NEW = {"adapter": "ogcapi", "name": "far", "url": "http://127.0.0.1:9"}
SECRET = "tok-5f0c1e"


@pytest.fixture
def site(with_settings: MakeServer) -> Server:
    made = with_settings(access=ACCESS)
    made.platform()
    return made


@pytest.fixture
def anna(site: Server) -> Account:
    return browser(site, "a", "Anna")


@pytest.fixture
def olga(site: Server) -> Account:
    return browser(site, "o", "Olga", *(one.value for one in Scope))


def terms(site: Server, name: str) -> Terms:
    with site.database.read() as tx:
        return platforms.one(tx, name).terms


def test_a_platform_is_added_operated_and_removed(site: Server, olga: Account) -> None:
    assert "kind=ogcapi#add" in olga.page("/platforms")
    assert 'type="password"' in olga.page("/platforms?kind=ogcapi")
    said = {"terms.title": "Far away", "terms.near": "s3://eodata\nhttps://a.example", "terms.core_hour": "0.5"}
    done = olga.form("/platforms", **NEW, token=SECRET, deploys="no", more='{"slots": 2}', **said)
    assert (done.status_code, done.headers["location"]) == (303, f"{site.url}{FAR}?f=html")
    assert terms(site, "far") == Terms("Far away", ("s3://eodata", "https://a.example"), core_hour=0.5)
    page = olga.page(FAR)
    assert "does not answer" in page
    assert SECRET not in page + olga.page("/platforms?replace=far") + olga.page("/audit")
    assert "s3://eodata\nhttps://a.example</textarea>" in olga.page("/platforms?replace=far")
    asked = olga.form(FAR, do="check")  # it does not answer: no job is made for it
    assert (asked.status_code, olga("GET", "/jobs").json()["jobs"]) == (303, [])
    for do, paused in (("pause", True), ("resume", False)):
        assert olga.form(FAR, do=do).status_code == 303
        assert olga("GET", FAR).json()["paused"] is paused
    assert "Pause it" in olga.page(FAR)
    assert olga.form(FAR, do="explode").status_code == 400
    assert "in broker.toml" in alerts(olga.form(f"/platforms/{PLATFORM}", do="remove"))
    assert olga.form(FAR, do="remove").headers["location"] == f"{site.url}/platforms?f=html"
    assert olga("GET", FAR).status_code == 404


WRONG: tuple[tuple[dict[str, str], str], ...] = (
    ({"name": "no name"}, "Name : 1 to 63"),
    ({"adapter": "local"}, "kinds below"),
    ({"url": "far.example"}, "address of a server"),
    ({"url": ""}, "lacks the setting"),
    ({"more": "[1]"}, "Other settings : this is no JSON object"),
    ({"more": '{"sltos": 2}'}, "did you mean"),
    ({"terms.slots": "many"}, "slots"),
    ({"terms.core_hour": "-1"}, "core_hour is a price"),
)


def test_what_is_wrong_is_said_and_no_secret_comes_back(olga: Account) -> None:
    for fields, wrong in WRONG:
        answer = olga.form("/platforms", **NEW | {"token": SECRET, "terms.title": "Far & away"} | fields)
        assert answer.status_code == 400, fields
        assert wrong in alerts(answer)
        assert SECRET not in answer.text
        assert "Far &amp; away" in answer.text or "adapter" in fields
    assert olga("GET", FAR).status_code == 404


def test_who_is_no_operator_sees_and_changes_nothing(site: Server, anna: Account) -> None:
    assert "Operators add, check and pause platforms here once they have logged in" in anna.page("/platforms")
    for path, fields in (("/platforms", NEW), (f"/platforms/{PLATFORM}", {"do": "pause"}), ("/budgets", {"do": "set"})):
        assert anna.form(path, **fields).status_code == 403
        page = anna.page(path)
        assert "<form" not in page.partition("<main")[2]


def test_a_link_says_nothing_of_where_a_secret_goes(olga: Account) -> None:
    page = olga.page("/platforms?kind=ogcapi&url=https://evil.example&name=evil")
    assert "evil" not in page.partition("<form")[2].partition("</form>")[0].replace("kind=ogcapi", "")


class Hers(BaseModel):
    """Settings of an adapter that says nothing of its form."""

    endpoint: str
    key: SecretStr | None = None
    deep: dict[str, str] = {}


def test_kinds_have_the_fields_that_their_settings_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {one[0] for one in offered()} >= {"openeo", "ogcapi"}
    assert "local" not in {one[0] for one in offered()}
    for kind in ("openeo", "ogcapi"):
        found = {one.name: one for one in options_of(kind)}
        assert found["url"].required
        assert {one.name for one in found.values() if one.secret} >= {"password"}
        assert all(one.label != one.name for one in found.values())
    assert {one.name.removeprefix("terms.") for one in ABOUT_IT} <= set(Terms.__dataclass_fields__)
    theirs = type("Theirs", (), {"Settings": Hers})
    monkeypatch.setattr("broker.api.platformoptions.platform_class", lambda kind: theirs)
    options_of.cache_clear()
    fields = [(one.name, one.label, one.required, one.secret) for one in options_of("theirs")]
    options_of.cache_clear()
    assert fields == [("endpoint", "endpoint", True, False), ("key", "key", False, True)]
    monkeypatch.undo()
    filled = {"url": "https://x.example", "username": "123", "job": "", "more": '{"job_options": {"a": 1}}'}
    assert given("openeo", filled) == {"url": "https://x.example", "username": "123", "job_options": {"a": 1}}
    assert adapters.make_platform("openeo", "x", given("openeo", filled | {"password": "p"})).settings.username == "123"


def test_a_budget_is_set_seen_and_unset(site: Server, anna: Account, olga: Account) -> None:
    anna.form("/projects", id="water", title="Water")
    wanted = {"do": "set", "project": "water", "platform": PLATFORM, "credits": "10", "sponsorship": "NoR-7"}
    done = olga.form("/budgets", **wanted)
    assert (done.status_code, done.headers["location"]) == (303, f"{site.url}/budgets?f=html")
    spent(site, anna.id, "water", 2.5, time.time(), platform=PLATFORM)
    spent(site, anna.id, "water", 1.5, time.time(), platform=PLATFORM, currency="credits")
    for who, path in ((anna, "/budgets"), (anna, "/usage"), (olga, "/budgets"), (olga, f"/platforms/{PLATFORM}")):
        page = who.page(path)
        assert "<td>EUR<br>" in page
        assert "and 1.5 credits" in page
        assert f'aria-label="water on {PLATFORM}: 2.5 of 10.0"' in page, path
        assert "NoR-7" in page
    assert "Unset<" not in anna.page("/budgets")
    assert 'value="water"' in olga.page("/budgets")  # a project to choose
    for fields, wrong in (
        ({"credits": "-1"}, "Budget of a month"),
        ({"credits": "nan"}, "Budget of a month"),
        ({"credits": "much"}, "Budget of a month"),
        ({"currency": "1 €"}, "Currency"),
        ({"project": ""}, "Project"),
        ({"platform": "nowhere"}, "no platform"),
        ({"do": "double"}, "nothing that this page can do"),
    ):
        assert wrong in alerts(olga.form("/budgets", **wanted | fields)), fields
    assert olga.form("/budgets", **wanted | {"do": "unset"}).status_code == 303
    assert olga("GET", "/budgets").json()["budgets"] == []
    assert olga.form("/budgets", **wanted | {"do": "unset"}).status_code == 404


def test_the_report_is_filtered_and_its_links_give_the_same(site: Server, anna: Account) -> None:
    spent(site, anna.id, anna.id, 2.5, sponsorship="NoR-7")
    spent(site, anna.id, anna.id, 4.0, sponsorship="NoR-8")
    page = anna.page("/usage?f=html&period=2026-11&sponsorship=NoR-7&platform=&project=")
    assert "2.5 EUR" in page
    assert "4.0 EUR" not in page
    assert 'value="NoR-7"' in page
    report = "/usage?period=2026-11&amp;by=month%2Cproject%2Cplatform%2Csponsorship&amp;sponsorship=NoR-7&amp;f="
    assert f'href="{report}csv"' in page
    assert f'href="{report}json"' in page
    table = anna("GET", f"{report}csv".replace("&amp;", "&")).text
    assert "NoR-7" in table
    assert "NoR-8" not in table
    found = anna("GET", f"{report}json".replace("&amp;", "&")).json()
    assert found["total"]["credits"] == {"EUR": 2.5}
    refused = (("period=soon", "Period"), ("by=colour&period=2026", "Grouped by"), ("project=no", "no project"))
    for query, wrong in refused:
        answer = anna("GET", f"/usage?{query}", headers=BROWSER)
        assert wrong in alerts(answer)
        assert answer.status_code in (400, 404)
