"""Platforms over HTTP: what they are, where a process fits, what a job would cost, and who operates them."""

from __future__ import annotations

import csv
import io
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import insert, update

from broker.access.principal import LOCAL, Scope
from broker.errors import Forbidden
from broker.jobs.model import Capabilities
from broker.jobs.terms import Terms
from broker.platform import Health
from broker.store import platforms, tables
from broker.store.database import new_id
from broker.store.platform_tables import accounts
from tests.api.accounts import ALL, Account, account
from tests.api.schemas import valid_problem
from tests.api.server import PLATFORM, Server
from tests.peers.broker import wait_for

DEAR = Terms(title="Dear and near", near=("https://data.example/s2",), core_hour=4.0, data_types=("image/tiff",))


def priced(server: Server, name: str, terms: Terms, position: int = 1, **offer: Any) -> None:
    health = Health(True, Capabilities(**({"cores": 8.0, "ram_mib": 8192} | offer)))
    with server.database.write() as tx:
        platforms.checked(tx, name, "scripted", position, health, terms)


def test_a_platform_says_what_it_is(api: Server) -> None:
    api.ready()
    priced(api, "dear", DEAR)
    api.execute(platform="dear")
    found = {one["name"]: one for one in api.get("/platforms").json()["platforms"]}
    dear = found["dear"]
    assert (dear["title"], dear["kind"], dear["available"]) == ("Dear and near", "scripted", True)
    assert dear["queue"] == {"waiting": 1, "active": 0, "collecting": 0}
    assert found[PLATFORM]["queue"]["waiting"] == 0
    assert dear["workflows"] == ["CWL 1.0 to 1.2 (application packages)"]
    assert (dear["dataTypes"], dear["near"]) == (["image/tiff"], ["https://data.example/s2"])
    assert dear["prices"]["core_hour"] == 4.0
    page = api.get("/platforms?f=html").text
    assert "Dear and near" in page
    assert "4.0 a core-hour" in page


def test_where_a_process_fits_and_which_requirement_fails(api: Server) -> None:
    api.ready()
    priced(api, "small", Terms(), cores=0.5)
    priced(api, "ours", Terms(projects=("glaciers",)))
    found = {one["name"]: one for one in api.get("/processes/say/platforms").json()["platforms"]}
    assert found[PLATFORM]["fits"]
    assert "0.5 cores" in found["small"]["reasons"][0]
    assert found["ours"]["reasons"] == ["it is not for your project; its operator says for whom it is."]
    assert "It has 0.5 cores" in api.get("/processes/say/platforms?f=html").text
    valid_problem(api.get("/processes/nothing/platforms"), 404)


def test_types_of_data_are_requirements(api: Server) -> None:
    api.ready()
    priced(api, "tables", Terms(data_types=("text/csv",)))
    priced(api, "images", Terms(), data_types=frozenset({"GTiff"}))
    reads = "{scene: {type: File, format: iana:image/tiff}}"
    text = f"cwlVersion: v1.2\nclass: CommandLineTool\nid: reads\nbaseCommand: cat\ninputs: {reads}\noutputs: []\n"
    text += "$namespaces: {iana: 'https://www.iana.org/assignments/media-types/'}\n"
    made = api.post("/processes", data=text, headers={"Content-Type": "application/cwl"})
    assert made.status_code == 201, made.text
    answer = api.get("/processes/reads/platforms").json()
    assert answer["needs"]["dataTypes"] == {"input scene": ["image/tiff"]}
    found = {one["name"]: one for one in answer["platforms"]}
    assert (found["images"]["fits"], found[PLATFORM]["fits"]) == (True, True)
    assert found["tables"]["reasons"] == ["it does not support image/tiff (the input scene)."]
    body = {"inputs": {"scene": {"href": "https://data.example/a.tif"}}, "platform": "tables"}
    refused = api.post("/processes/reads/execution", json=body)
    assert "does not support image/tiff (the input scene)" in valid_problem(refused, refused.status_code)["detail"]
    assert refused.status_code >= 400
    later = {"Prefer": "respond-async"}
    assert api.post("/processes/reads/execution", json=body | {"platform": "images"}, headers=later).status_code == 201


def test_the_decision_is_in_the_job_its_status_and_its_page(api: Server) -> None:
    api.ready()
    priced(api, "cheap", Terms(core_hour=1.0))
    priced(api, "dear", DEAR, 0)
    priced(api, PLATFORM, Terms(core_hour=2.0), 2)
    job = api.execute()
    status = api.get(f"/jobs/{job}").json()
    assert (status["platform"], status["placement"]["rule"]) == ("cheap", "cost")
    assert status["placement"]["others"] == [PLATFORM, "dear"]
    assert f"It is cheaper than {PLATFORM}" in api.get(f"/jobs/{job}?f=html").text
    named = api.get(f"/jobs/{api.execute(platform='dear')}").json()
    assert named["placement"] == {"rule": "named", "why": "The request names it."}


def test_who_waits_for_a_platform_that_takes_nothing_is_told(api: Server) -> None:
    api.ready()
    priced(api, "far", Terms())
    down = Health(False, Capabilities(), "no route to\nthe host")
    job, began = api.execute(platform="far"), int(time.time()) // 60 * 60

    def told(expected: str) -> None:
        """What is known of platforms is up to a second old."""
        wait_for(lambda: message() == expected, 10, message)

    def message() -> str:
        return str(api.get(f"/jobs/{job}").json()["message"])

    before = message()
    for _ in range(2):  # as often as it is checked, it is down since the first time
        with api.database.write() as tx:
            platforms.checked(tx, "far", "scripted", 1, down)
    with api.database.read() as tx:
        since = platforms.closed(tx)["far"].since
    assert since is not None
    assert began <= since <= time.time()
    at = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d %H:%M} UTC"
    sentence = f"Waits for far, which does not answer since {at}: no route to the host"
    told(sentence)
    assert sentence in api.get(f"/jobs/{job}?f=html").text
    with api.database.write() as tx:
        tx.execute(update(tables.platforms).values(since=1.0))
        platforms.checked(tx, "far", "scripted", 1, down)
        assert platforms.closed(tx)["far"].since == 1.0
        platforms.checked(tx, "far", "scripted", 1, Health(True, Capabilities(), ""))
        platforms.pause(tx, "far", True)
    told("Waits for far, which is paused.")
    with api.database.write() as tx:
        platforms.pause(tx, "far", False)
        assert "far" not in platforms.closed(tx)
    told(before)


NOVEMBER = 1794000000.0


def spent(server: Server, owner: str, project: str, credits: float | None, at: float = NOVEMBER, **more: Any) -> str:
    """A job that took an hour of two cores; its id."""
    row = {
        "job_id": new_id(),
        "owner": owner,
        "project": project,
        "platform": "dear",
        "process_id": "say",
        "phase": "successful",
        "ended": at,
        "held_seconds": 3600.0,
        "core_seconds": 7200.0,
        "mib_seconds": 3600.0 * 512,
        "cpu_seconds": 1800.0,
        "bytes": 10,
        "credits": credits,
        "currency": None if credits is None else "EUR",
    }
    with server.database.write() as tx:
        tx.execute(insert(accounts).values(row | more))
    return str(row["job_id"])


def test_usage_adds_up_as_json_csv_and_page(api: Server) -> None:
    mine = spent(api, "local", "local", 2.5, sponsorship="=NoR(7)")
    spent(api, "local", "local", 0.5)
    spent(api, "local", "ice", 4.0, currency="credits")
    spent(api, "local", "local", None)
    spent(api, "local", "local", 100.0, NOVEMBER - 31 * 86400)
    found = api.get("/usage?period=2026-11&by=job").json()
    assert len(found["usage"]) == found["total"]["jobs"] == 4
    assert found["total"]["credits"] == {"EUR": 3.0, "credits": 4.0}  # no sum of different money
    assert (found["total"]["cpu_hours"], found["total"]["memory_gib_hours"]) == (8.0, 2.0)
    assert mine in {one["job"] for one in found["usage"]}
    grouped = api.get("/usage?period=2026-11").json()
    assert grouped["by"] == ["month", "project", "platform", "sponsorship"]
    assert grouped["total"] == found["total"]
    table = list(csv.DictReader(io.StringIO(api.get("/usage?period=2026-11&by=sponsorship&f=csv").text)))
    assert sum(float(one["credits"] or 0) for one in table) == 7.0
    assert "'=NoR(7)" in {one["sponsorship"] for one in table}  # no formula for a spreadsheet
    page = api.get("/usage?period=2026-11&by=project&f=html").text
    assert "3.0 EUR, 4.0 credits" in page
    assert api.get("/usage?period=2026-10/2026-11").json()["total"]["jobs"] == 5
    for wrong in ("period=2026-13", "period=soon", "period=2026-11/2026-10", "by=colour"):
        valid_problem(api.get(f"/usage?{wrong}"), 400)


def test_usage_is_ones_own_and_that_of_ones_projects(api: Server) -> None:
    alice, bob, root = account(api, "alice"), account(api, "bob"), account(api, "root", *ALL, "admin")
    assert alice("POST", "/projects", json={"id": "ice", "title": "Ice"}).status_code == 201
    hers = {spent(api, "alice", "alice", 1.0)}
    shared = {spent(api, "bob", "ice", 1.0)}
    his = {spent(api, "bob", "bob", 1.0)}

    def jobs(who: Account, query: str = "") -> set[str]:
        answer = who("GET", f"/usage?period=2026-11&by=job{query}")
        assert answer.status_code == 200, answer.text
        return {one["job"] for one in answer.json()["usage"]}

    assert jobs(alice) == hers | shared
    assert jobs(alice, "&project=ice") == shared
    assert jobs(bob) == his | shared
    assert jobs(root) == hers | shared | his
    assert bob("GET", "/usage?project=ice").status_code == 404
    assert alice("GET", "/usage?project=bob").status_code == 404


def test_a_budget_that_is_spent_closes_its_platform_for_the_project(api: Server) -> None:
    api.ready()
    priced(api, "dear", DEAR, -1)
    me, root = account(api, "alice"), account(api, "root", *ALL, "admin")
    assert root("PUT", "/budgets/alice/dear", json={"credits": 5, "sponsorship": "NoR-7"}).status_code == 200
    assert root("PUT", "/budgets/alice/nowhere", json={"credits": 5}).status_code == 404
    assert me("PUT", "/budgets/alice/dear", json={"credits": 500}).status_code == 403
    with api.database.write() as tx:
        processes = tx.execute(update(tables.processes).values(shared="public"))
    assert processes.rowcount == 1

    def run(**more: Any) -> Any:
        body = {"inputs": {"text": "x"}, **more}
        return me("POST", "/processes/say/execution", json=body, headers={"Prefer": "respond-async"})

    assert run().json()["platform"] == "dear"
    spent(api, "alice", "alice", 5.0, time.time())
    [mine] = me("GET", "/budgets").json()["budgets"]
    assert (mine["used"], mine["left"], mine["sponsorship"]) == (5.0, 0.0, "NoR-7")
    moved = run().json()
    assert moved["platform"] == PLATFORM
    assert "spent its budget" in moved["placement"]["reasons"]["dear"][0]
    refused = valid_problem(run(platform="dear"), 429)
    assert "spent its budget" in refused["detail"]
    assert root("DELETE", "/budgets/alice/dear").status_code == 204
    assert run().json()["platform"] == "dear"


def test_an_estimate_says_whose_word_it_is(api: Server) -> None:
    api.ready()
    priced(api, "dear", DEAR)
    priced(api, "small", Terms(), cores=0.5)

    def estimates() -> dict[str, Any]:
        answer = api.post("/processes/say/estimate", json={"inputs": {"text": "x"}})
        assert answer.status_code == 200, answer.text
        return {one["platform"]: one for one in answer.json()["estimates"]}

    found = estimates()
    assert (found["dear"]["basis"], found["dear"]["costs"], found["dear"]["duration"]) == ("price", 4.0, 3600.0)
    assert (found[PLATFORM]["basis"], "costs" in found[PLATFORM]) == ("none", False)
    assert (found["small"]["fits"], "costs" in found["small"]) == (False, False)
    for credits in (1.0, 2.0, 30.0):
        spent(api, "local", "local", credits)
    spent(api, "somebody", "else", 500.0)
    past = estimates()["dear"]
    assert (past["basis"], past["costs"], past["currency"], past["duration"]) == ("history", 2.0, "EUR", 3600.0)
    assert api.get("/jobs").json()["jobs"] == []
    valid_problem(api.post("/processes/say/estimate", json={"inputs": {"text": 3}}), 400)


def test_the_price_of_cores_is_no_estimate_of_what_takes_none(api: Server) -> None:
    api.ready()
    priced(api, "sky", Terms(core_hour=2.0), kinds=frozenset({"openeo"}))
    process = {
        "id": "sum",
        "process_graph": {"add": {"process_id": "add", "arguments": {"x": 1, "y": 2}, "result": True}},
    }
    made = api.post("/processes", json=process, headers={"Content-Type": "application/vnd.openeo+json;type=process"})
    assert made.status_code == 201, made.text
    answer = api.post("/processes/sum/estimate", json={"inputs": {}}).json()
    [found] = [one for one in answer["estimates"] if one["platform"] == "sky"]
    assert (found["fits"], found["basis"], "costs" in found) == (True, "none", False)


def test_only_operators_operate(api: Server) -> None:
    api.ready()
    me, root = account(api, "alice"), account(api, "root", *ALL, "admin")
    new = {"name": "far", "adapter": "ogcapi", "options": {"url": "http://127.0.0.1:9", "terms": {"slots": 3}}}
    assert me("POST", "/platforms", json=new).status_code == 403
    with pytest.raises(Forbidden, match="nobody is an operator"):
        LOCAL.need(Scope.ADMIN)
    made = root("POST", "/platforms", json=new)
    assert (made.status_code, made.json()["available"]) == (201, False)
    assert root("POST", "/platforms", json=new).status_code == 200
    bad: list[dict[str, Any]] = [{"adapter": "none"}, {"options": {}}, {"name": "../x"}]
    bad.append({"options": {"url": "http://x", "terms": {"slots": -1}}})
    for wrong in bad:
        assert root("POST", "/platforms", json=new | wrong).status_code == 400, wrong
    assert root("PUT", f"/platforms/{PLATFORM}/paused", json={"paused": True}).json()["paused"]
    waits = me("GET", "/platforms").json()["platforms"]
    assert {one["name"]: one["paused"] for one in waits} == {PLATFORM: True, "far": False}
    assert root("DELETE", f"/platforms/{PLATFORM}").status_code == 409  # it is in broker.toml
    assert root("DELETE", "/platforms/far").status_code == 204
    assert root("DELETE", "/platforms/far").status_code == 404
