"""What a record of provenance says, and what never gets into it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from broker.jobs.model import Phase, StageItem
from broker.jobs.record import MOST_COMMAND, build
from broker.jobs.secrets import unsigned
from tests.unit.results.records import CONTEXT, JOB, SHA, record


def test_inputs_as_asked_for_and_as_they_came() -> None:
    found = record()
    (scene,) = found["inputs"]["scene"]
    assert scene == {
        "path": "inputs/scene/a.tif",
        "location": "https://data.example/a b.tif?v=2",
        "mediaType": "image/tiff",
        "sha256": SHA,
        "size": 7,
    }
    (items,) = found["inputs"]["items"]
    assert (items["stacId"], items["size"]) == (["i1", "i2"], 7)
    assert [one["path"] for one in items["files"]] == ["inputs/items/i1/b.tif", "inputs/items/i2/b.tif"]
    assert found["inputs"]["words"] == {"value": ["a", "d"]}
    assert set(found["inputs"]["big"]["value"]) == {"sha256", "size"}


def test_a_directory_of_files_that_were_asked_for_one_by_one() -> None:
    stage = (StageItem("d/sub/a", text="hi"), StageItem("d/sub/b", "upload:u1", sha256=SHA, size=3))
    order = {
        "d": {"class": "Directory", "location": "inputs/d/sub"},
        "e": [
            {"class": "Directory", "basename": "x", "listing": [{"class": "File", "basename": "c", "contents": "hi"}]}
        ],
    }
    found = build(replace(JOB, stage=stage, job_order=order, request={}), CONTEXT)
    (directory,) = found["inputs"]["d"]
    digest = hashlib.sha256(b"hi").hexdigest()
    assert directory["size"] == 5
    assert directory["files"] == [
        {"path": "inputs/d/sub/a", "sha256": digest, "size": 2},
        {"path": "inputs/d/sub/b", "location": "upload:u1", "sha256": SHA, "size": 3},
    ]
    assert found["inputs"]["e"] == [{"path": "c", "sha256": digest, "size": 2}]
    assert found["jobOrder"]["d"] == order["d"]


def test_the_job_order_has_checksums() -> None:
    # the whole is too large for the record: its digest stands for it
    assert set(record()["jobOrder"]) == {"sha256", "size"}


def test_outputs_and_what_they_were() -> None:
    found = record()["outputs"]
    assert found["all"] == [
        {
            "path": "all/all.txt",
            "sha256": SHA,
            "size": 5_000_000_000,
            "mediaType": "text/plain",
            "source": "work/out6/all.txt",
        }
    ]
    assert found["tiles"] == [{"path": "tiles/t/1.tif", "sha256": SHA, "size": 4, "source": "work/out6/t/1.tif"}]
    assert found["number"] == {"value": 5}


def test_steps() -> None:
    first, second, third, _ = record()["steps"]
    assert (first["imageDigest"], first["node"], first["exitCode"]) == (f"sha256:{SHA}", "node-1", 0)
    assert (first["requested"], first["measured"]) == ({"cores": 1, "ram": 256}, {"cpu": 0.5, "rss": 20.0})
    assert (first["start"], first["inputs"]) == ("2027-01-15T08:00:02.000Z", ["inputs/scene/a.tif"])
    assert second["cacheHit"] is True
    assert second["reused"] == "01a204ae-0000-7e5a-8c8d-b7b3b9d22a25"
    assert third["commandCut"] == 1001
    assert sum(map(len, third["command"])) <= MOST_COMMAND


def test_a_failure_without_its_log() -> None:
    found = record(Phase.FAILED)
    assert (found["failure"]["step"], found["failure"]["exitCode"], found["outputs"]) == ("join", 1, {})
    assert "logTail" not in found["failure"]


@pytest.mark.parametrize("phase", [Phase.SUCCESSFUL, Phase.FAILED, Phase.DISMISSED])
def test_no_signed_link_gets_in(phase: Phase) -> None:
    assert "canary" not in json.dumps(record(phase))


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain words, bare", "plain words, bare"),
        ("see https://me:canary@x.example/a?b=1.", "see https://x.example/a?b=1."),
        ("https://x.example/a?X-Goog-Signature=canary&c=2", "https://x.example/a?c=2"),
        ("https://x.example/a?sv=2020&se=2030&sp=r&sig=canary", "https://x.example/a"),
        ("https://x.example/#access_token=canary", "https://x.example/"),
        ("s3://bucket/key?apikey=canary", "s3://bucket/key"),
        ("-H 'Authorization: Bearer canary0123456789'", "-H 'Authorization: Bearer …'"),
        ("curl https://x.example/?q=1&token=canary then https://[bad", "curl https://x.example/?q=1 then …"),
    ],
)
def test_unsigned(text: str, left: str) -> None:
    assert unsigned(text) == left
