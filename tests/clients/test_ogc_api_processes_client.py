"""ogc-api-processes-client 0.6 (EOEPCA, Terradue), unmodified: its models are strict, so every document has to fit."""

from __future__ import annotations

import json

from tests.clients.conftest import Run
from tests.peers.broker import BrokerPeer

START = """
import json, sys, time
from ogc_api_processes_client.api_client_wrapper import ApiClientWrapper
from ogc_api_processes_client.configuration import Configuration
api = ApiClientWrapper(configuration=Configuration(host=sys.argv[1]))
ASYNC = {"Prefer": "respond-async", "Content-Type": "application/json", "Accept": "application/json"}
def run(process, inputs, **more):
    return api.execute_simple(process_id=process, execute={"inputs": inputs, **more}, _headers=ASYNC).job_id
def ended(job):
    for _ in range(300):
        status = api.get_status(job)
        if status.status.value not in ("accepted", "running"):
            return status
        time.sleep(0.1)
"""
READS = """
links = [one.rel for one in api.get_landing_page().links]
classes = api.get_conformance_classes().conforms_to
ids = [one.id for one in api.get_processes().processes]
described = api.get_process_description("echo")
print(json.dumps([links, classes, ids, sorted(described.inputs), described.job_control_options]))
"""
RUNS = """
job = run("echo", {"message": "hello", "pause": 1})
listed = [one.job_id for one in api.get_jobs().jobs]
status = ended(job)
dismissed = api.dismiss(run("echo", {"message": "hello", "pause": 60}))
print(json.dumps([job, listed, status.status.value, status.progress, status.type, dismissed.status.value]))
"""
RESULTS = """
job = run("outputs", {"text": "hello"}, outputs={"said": {}})
ended(job)
found = api.get_result(job)["said"].actual_instance
print(json.dumps([found.href, found.type]))
"""


def test_it_reads_what_there_is(script: Run) -> None:
    links, classes, ids, inputs, options = json.loads(script(START + READS))
    assert "service-desc" in links
    assert "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core" in classes
    assert {"echo", "outputs"} <= set(ids)
    assert "bbox" in inputs
    assert "async-execute" in options


def test_it_runs_watches_lists_and_dismisses(script: Run) -> None:
    job, listed, status, progress, kind, dismissed = json.loads(script(START + RUNS))
    assert job in listed
    assert (status, progress, kind, dismissed) == ("successful", 100, "process", "dismissed")


def test_it_gets_results_by_reference(script: Run, broker: BrokerPeer) -> None:
    """Its models cannot hold a plain text or a number as a result; a link they can."""
    href, kind = json.loads(script(START + RESULTS))
    assert kind.startswith("text/plain")
    assert broker.session.get(href, timeout=10).text.strip() == "hello"
