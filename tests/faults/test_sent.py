"""What an adapter says was not sent was not: a job that another platform takes over runs nowhere else.

Each request of a submission fails in each way, with a real server behind it that says what arrived.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from adapters.ogcapi.platform import OgcApiPlatform
from adapters.ogcapi.settings import OgcApiSettings
from adapters.openeo.platform import OpenEoPlatform
from adapters.openeo.settings import OpenEoSettings
from broker.errors import PlatformUnavailable
from broker.jobs.model import JobSpec, Needs, remote_name
from broker.packages import ogcapi as package
from broker.packages.bundle import build
from tests.peers.crowd import OGC, PROCESS, CrowdPeer, crowd_peer
from tests.peers.openeo.faults import Faults

LAST = {"openeo": 3, "ogcapi": 2}  # requests of a submission, before the one that makes the job
MAKES = {"openeo": r"/jobs$", "ogcapi": "/execution$"}


@pytest.fixture(scope="module")
def crowd() -> Iterator[CrowdPeer]:
    with crowd_peer() as peer:
        yield peer


def platform(adapter: str, url: str) -> OpenEoPlatform | OgcApiPlatform:
    if adapter == "openeo":
        return OpenEoPlatform("far", OpenEoSettings(url=url, cwl="none"))
    return OgcApiPlatform("far", OgcApiSettings(url=url + OGC))


def spec(adapter: str, url: str, job_id: str) -> JobSpec:
    if adapter == "openeo":
        graph = {"wait": {"process_id": "wait", "arguments": {}, "result": True}}
        bundle = build(json.dumps({"id": "udp", "process_graph": graph}), name="udp.json").to_json()
        needs = Needs("openeo", 0.0, 0)
    else:
        address = f"{url}{OGC}/processes/wait"
        bundle = {"kind": package.KIND, "entry": address, "documents": {address: json.dumps(PROCESS)}, "files": {}}
        needs = Needs(package.KIND, 0.0, 0)
    return JobSpec(job_id, 1, remote_name(job_id, 1), "me", "mine", "p", bundle, {}, needs=needs)


@pytest.mark.parametrize("adapter", ["openeo", "ogcapi"])
@pytest.mark.parametrize("how", ["vanish", "lose", "busy"])
def test_what_was_not_sent_did_not_arrive(crowd: CrowdPeer, adapter: str, how: str) -> None:
    told = []
    for number in range(LAST[adapter] + 1):
        with Faults(crowd.url) as faults:
            job = spec(adapter, faults.url, f"{how}{number}")
            before = len(crowd.names())
            _skip(faults, number - (how == "vanish"))
            if how == "vanish" and number == 0:
                faults.shut()
            elif how == "vanish":
                faults.vanish("*", "")
            elif how == "lose":
                faults.lose("*", "")
            else:
                faults.answer("*", "", 503)
            with pytest.raises(PlatformUnavailable) as error:
                list(platform(adapter, faults.url).submit(job))
            made = len(crowd.names()) - before
            asked_for = faults.count("POST", MAKES[adapter]) > 0
            assert error.value.sent == asked_for, (number, str(error.value))
            assert made == 0 or error.value.sent
            told.append(error.value.sent)
    assert told == [False] * LAST[adapter] + [how != "vanish"]


def _skip(faults: Faults, count: int) -> None:
    for _ in range(count):
        faults.change("*", "", lambda document: document)
