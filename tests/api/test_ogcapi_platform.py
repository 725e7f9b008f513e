"""pygeoapi as a platform of a broker: its processes, registered by their addresses, run like any other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.bench.flight import LATE, Flight, bound
from tests.bench.sites import PygeoapiSite
from tests.peers.broker import BrokerPeer, as_operator, broker_peer, command, wait_for
from tests.peers.pygeoapi import PygeoapiPeer, pygeoapi_peer
from tests.peers.remote.pygeoapi_processes import PICTURE

pytestmark = pytest.mark.xdist_group("pygeoapi")
RATE = 50.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PygeoapiPeer]:
    with pygeoapi_peer(tmp_path_factory.mktemp("pygeoapi")) as peer:
        yield peer


@pytest.fixture(scope="module")
def broker(server: PygeoapiPeer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPeer]:
    """A broker with pygeoapi beside its own machine; the processes of pygeoapi are registered."""
    platforms = {
        "local": {"adapter": "local"},
        "geo": {"adapter": "ogcapi", "url": server.url, "terms": {"requests": RATE}},
    }
    with broker_peer(tmp_path_factory.mktemp("broker"), platforms=platforms) as peer:
        wait_for(lambda: "geo" in peer.get("/platforms").text, 30, lambda: peer.log.read_text())
        as_operator(peer)
        for name in ("hello-world", "several", "slow", "failing", "picture"):
            made = peer.post("/processes", json={"executionUnit": {"href": f"{server.url}/processes/{name}"}})
            assert made.status_code == 201, made.text
        yield peer


def run(broker: BrokerPeer, process: str, **inputs: Any) -> dict[str, Any]:
    return broker.ended(broker.execute(process, inputs))


def results(broker: BrokerPeer, status: dict[str, Any]) -> Any:
    assert status["status"] == "successful", status
    return broker.get(f"/jobs/{status['jobID']}/results?f=json").json()


def file(broker: BrokerPeer, link: dict[str, Any]) -> bytes:
    return broker.get(link["href"].removeprefix(broker.url)).content


def test_a_value(broker: BrokerPeer) -> None:
    """Its results are {"outputs": [{"id", "value"}]}."""
    status = run(broker, "hello-world", name="Ada", message="Welcome.")
    assert results(broker, status) == {"echo": "Hello Ada! Welcome."}
    assert status["platform"] == "geo"


def test_several_outputs_and_every_kind_of_input(broker: BrokerPeer) -> None:
    image = {"value": "SUkqAA==", "encoding": "base64", "mediaType": "image/png"}
    status = run(broker, "several", number=2.5, names=["a", "b"], where={"value": {"x": 1}}, image=image)
    found = results(broker, status)
    assert found["double"] == 5.0
    assert found["echo"]["value"] == {"number": 2.5, "names": ["a", "b"], "where": {"value": {"x": 1}}, "image": image}
    assert file(broker, found["report"]) == b"a,b\n1,2\n"
    assert file(broker, found["image"]) == PICTURE


def test_bytes_of_a_process_that_runs_at_once(broker: BrokerPeer) -> None:
    found = results(broker, run(broker, "picture"))
    assert found["image"]["type"] == "image/png"
    assert file(broker, found["image"]) == PICTURE


def test_a_failure_says_why(broker: BrokerPeer) -> None:
    status = run(broker, "failing")
    assert status["status"] == "failed"
    assert "wrong band" in status["failure"]["message"]
    assert status["failure"]["fault"] == "package"


def test_inputs_are_checked_before_anything_is_sent(broker: BrokerPeer, server: PygeoapiPeer) -> None:
    before = len(server.runs("several"))
    answer = broker.post("/processes/several/execution", json={"inputs": {"number": -1, "nmaes": ["a"]}})
    assert answer.status_code == 400
    assert "at least 0" in answer.text
    assert "did you mean 'names'" in answer.text
    assert len(server.runs("several")) == before


def test_a_job_that_waits_and_is_dismissed(broker: BrokerPeer, server: PygeoapiPeer) -> None:
    """pygeoapi calls a job accepted until it has ended, forgets a dismissed one, and lets it run on."""
    going = broker.execute("slow", {"until": "go"})
    ended = broker.execute("slow", {"until": "never"})
    wait_for(lambda: len(server.runs("slow")) == 2, 30, lambda: str(broker.status(going)))
    broker.delete(f"/jobs/{ended}")
    assert broker.ended(ended)["status"] == "dismissed"
    assert broker.status(going)["status"] == "accepted"
    (server.folder / "go").touch()
    assert results(broker, broker.ended(going)) == {"said": "at last"}
    assert len(server.runs("slow")) == 2
    (server.folder / "never").touch()


def test_the_record_says_where_it_ran(broker: BrokerPeer, server: PygeoapiPeer) -> None:
    job = run(broker, "hello-world", name="Ada")["jobID"]
    record = broker.get(f"/jobs/{job}/prov?f=record").json()
    delegated = record["delegated"]
    assert delegated["process"] == f"{server.url}/processes/hello-world"
    assert delegated["version"] == "0.2.0"
    assert delegated["job"].startswith(f"{server.url}/jobs/")
    assert delegated["request"]["inputs"] == {"name": "Ada"}
    assert record["process"]["source"] == {"href": f"{server.url}/processes/hello-world"}
    assert broker.get(f"/jobs/{job}/crate").status_code == 200


def test_a_process_that_is_not_there(broker: BrokerPeer, server: PygeoapiPeer) -> None:
    answer = broker.post("/processes", json={"executionUnit": {"href": f"{server.url}/processes/nothing"}})
    assert answer.status_code == 400
    assert "has no process nothing" in answer.text


def test_only_its_server_runs_it(broker: BrokerPeer) -> None:
    answer = broker.post("/processes/hello-world/execution", json={"inputs": {"name": "A"}, "platform": "geo"})
    assert answer.status_code in (200, 201), answer.text
    [local] = (one["name"] for one in broker.get("/platforms").json()["platforms"] if one["name"] != "geo")
    refused = broker.post("/processes/hello-world/execution", json={"inputs": {"name": "A"}, "platform": local})
    assert refused.status_code >= 400
    assert "not ogcapi" in refused.text


def test_many_jobs_that_end_at_once(broker: BrokerPeer, server: PygeoapiPeer) -> None:
    """A thousand of them: `python -m tests.bench flight`."""
    count, site = 20, PygeoapiSite(server.url, server.folder, "geo")
    flown = Flight(broker, site, RATE).fly(count, over=0.0)
    assert len(flown.ended) == count
    assert max(flown.ended) <= bound(count, RATE), flown
    assert max(site.requests().values()) <= RATE + LATE, site.requests()


def newest(broker: BrokerPeer) -> dict[str, Any]:
    return dict(broker.get("/jobs?limit=1").json()["jobs"][0])


def test_its_check_runs_one_of_its_processes(broker: BrokerPeer, server: PygeoapiPeer) -> None:
    """From the inputs that the description of `hello-world` gives, to results: by command, API and page."""
    command(broker, "platforms", "check", "geo")
    by_command = newest(broker)
    asked = broker.post("/platforms/geo/check?job=true").json()
    assert (asked["available"], asked["links"][0]["rel"]) == (True, "monitor")
    broker.ended(asked["job"])
    sent = broker.post("/platforms/geo", data={"do": "check"}, allow_redirects=False)
    assert sent.headers["location"].endswith("/platforms/geo?f=html#checks"), sent.text
    by_page = broker.ended(newest(broker)["jobID"])
    for status in (by_command, broker.status(asked["job"]), by_page):
        assert (status["platform"], status["tags"]) == ("geo", ["platform-check"])
        assert results(broker, status) == {"echo": "Hello World! An optional message."}
    assert len({by_command["jobID"], asked["job"], by_page["jobID"]}) == 3
    assert not [one for one in broker.get("/processes").json()["processes"] if one["id"].startswith("check-")]
    assert "job" not in broker.post("/platforms/geo/check").json()


def test_its_check_runs_what_the_operator_names(broker: BrokerPeer, server: PygeoapiPeer) -> None:
    given = ("--adapter", "ogcapi", "--set", f"url={server.url}")
    few = ("--set", "trial.process=several", "--set", "trial.inputs.number=3")
    command(broker, "platforms", "add", "named", *given, *few)
    command(broker, "platforms", "check", "named")
    status = newest(broker)
    assert (status["platform"], results(broker, status)["double"]) == ("named", 6.0)
    command(broker, "platforms", "add", "named", *given, "--set", "trial.process=failing")
    assert "wrong band" in command(broker, "platforms", "check", "named", code=1).stderr
    command(broker, "platforms", "add", "named", *given, "--set", "trial.process=nothing")
    assert "has no process nothing" in broker.post("/platforms/named/check?job=true").text
    wait_for(lambda: broker.delete("/platforms/named").status_code == 204, 30, lambda: broker.log.read_text()[-2000:])
