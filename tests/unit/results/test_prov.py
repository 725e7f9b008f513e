"""The notations of PROV: each can be read by other software, and says the same."""

from __future__ import annotations

import subprocess
import sys

import pytest
import rdflib
from prov.model import ProvActivity, ProvDocument, ProvEntity

from broker.errors import LimitError
from broker.jobs.model import Phase
from broker.results import notations, prov
from tests.unit.results.records import JOB_ID, record

PROV = rdflib.Namespace("http://www.w3.org/ns/prov#")
RUN = rdflib.Namespace(f"urn:uuid:{JOB_ID}#")


@pytest.mark.parametrize("notation", ["json", "xml"])
@pytest.mark.parametrize("phase", [Phase.SUCCESSFUL, Phase.FAILED, Phase.DISMISSED])
def test_what_is_written_is_read_again(notation: str, phase: Phase) -> None:
    found = record(phase)
    text = prov.written(found, notation)
    read = ProvDocument.deserialize(content=text.decode(), format=notation)
    assert read == prov.document(found)
    steps = [one for one in read.get_records(ProvActivity) if one.identifier.localpart.startswith("step.")]
    assert len(steps) == len(found["steps"])
    assert len(list(read.get_records(ProvEntity))) > 5


def test_why_it_ran_there() -> None:
    found = record()
    found["platform"] |= {"rule": "cost", "why": "It is cheaper than far."}
    text = prov.written(found, "provn").decode()
    assert 'broker:placementRule="cost"' in text
    assert 'broker:placement="It is cheaper than far."' in text


def test_provn() -> None:
    text = prov.written(record(), "provn").decode()
    assert text.startswith("document\n")
    assert text.endswith("endDocument")
    assert "wasGeneratedBy(run:output.1.1, run:step.3, -)" in text
    assert "used(run:step.3, run:file." in text
    assert "5000000000" in text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # rdflib's own reader of JSON-LD
@pytest.mark.parametrize(("notation", "form"), [("ttl", "turtle"), ("nt", "nt"), ("jsonld", "json-ld")])
def test_rdf(notation: str, form: str) -> None:
    graph = rdflib.Graph().parse(data=prov.written(record(), notation), format=form)
    assert set(graph.subjects(PROV.used, RUN["input.1.1"])) == {RUN.job, RUN["step.1"]}
    assert set(graph.objects(RUN["output.1.1"], PROV.wasGeneratedBy)) == {RUN.job, RUN["step.3"]}


@pytest.mark.parametrize("notation", ["json", "ttl"])
def test_a_large_record_is_written_by_a_child(notation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = record()
    found["steps"] = [{**found["steps"][1], "name": f"count_{number}"} for number in range(notations.MOST_STEPS + 1)]
    ours = notations.here(found, notation)
    monkeypatch.setattr(notations, "here", None)
    theirs = notations.written(found, notation)
    assert (len(theirs), theirs[:50]) == (len(ours), ours[:50])
    monkeypatch.setattr(notations, "SECONDS", 0.01)
    with pytest.raises(LimitError, match="too large"):
        notations.written(found, notation)


def test_nobody_pays_for_it_who_does_not_ask() -> None:
    """Neither the API nor the workers import `prov` (0.2 s) or rdflib (0.5 s, 30 MB) when they start."""
    code = (
        "import sys, broker.api.app, broker.queue.tasks, broker.cli.commands\n"
        "print([name for name in ('prov', 'rdflib', 'lxml', 'broker.results.prov') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_a_run_does_again() -> None:
    experiment = {"name": "lakes", "href": "https://osc.example/experiments/lakes/record.json", "digest": "ab" * 32}
    text = prov.written({**record(), "reproduces": experiment}, "provn").decode()
    assert "wasDerivedFrom(run:package, run:experiment, -, -, -)" in text
    assert experiment["href"] in text
    first = "01a204ae-0000-7e5a-8c8d-b7b3b9d22a25"
    text = prov.written({**record(), "reproduces": {"name": first, "job": first}}, "provn").decode()
    assert f"wasInfluencedBy(run:job, job:{first})" in text


def test_what_another_server_did() -> None:
    there = {"kind": "ogcapi", "server": "https://there", "job": "https://there/jobs/7", "provenance": {"entity": {}}}
    text = prov.written({**record(), "delegated": there}, "provn").decode()
    assert "wasInformedBy(run:job, run:elsewhere)" in text
    assert 'broker:remoteJob="https://there/jobs/7"' in text


def test_what_was_not_computed_again() -> None:
    first = "01a204ae-0000-7e5a-8c8d-b7b3b9d22a25"
    text = prov.written({**record(), "reused": {"job": first}}, "provn").decode()
    for what in ("run:job", "run:step.2"):
        assert f"wasInfluencedBy({what}, job:{first})" in text
