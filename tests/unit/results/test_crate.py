"""Run crates, held against the validator of the profiles; offline."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from broker.jobs.model import Phase
from broker.results import crate, cratezip
from tests.peers import rocrate
from tests.unit.results.records import BUNDLE, INSPECTION, JOB_ID, record

HERE = f"https://broker.example.org/jobs/{JOB_ID}"


def made(tmp_path: Path, found: dict[str, Any], *without: tuple[str, str]) -> Path:
    """The crate of a record in a directory; `without`: entities and their members that are left out."""
    metadata = crate.metadata(found, BUNDLE, INSPECTION, HERE)
    for entity in metadata["@graph"]:
        for name, member in without:
            if entity["@id"] == name:
                del entity[member]
    packed = cratezip.packed(metadata, found, BUNDLE)
    assert packed == cratezip.packed(metadata, found, BUNDLE)
    tmp_path.mkdir(exist_ok=True)
    archive = tmp_path / "crate.zip"
    archive.write_bytes(packed)
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "crate")
    return tmp_path / "crate"


@pytest.mark.timeout(300)
def test_the_validator_finds_nothing(tmp_path: Path) -> None:
    for phase in (Phase.SUCCESSFUL, Phase.FAILED, Phase.DISMISSED):
        found = rocrate.validated(made(tmp_path / phase, record(phase)), tmp_path / "cache")
        assert {name: one["issues"] for name, one in found.items()} == {name: [] for name in rocrate.PROFILES}
        assert all(one["passed"] and one["checks"] > 40 for one in found.values())


@pytest.mark.timeout(300)
def test_a_job_of_which_no_step_ran_is_a_workflow_run(tmp_path: Path) -> None:
    found = rocrate.validated(
        made(tmp_path, record(Phase.DISMISSED, steps=0)), tmp_path / "cache", profiles=rocrate.PROFILES[:2]
    )
    assert [one["issues"] for one in found.values()] == [[], []]
    text = (tmp_path / "crate" / "ro-crate-metadata.json").read_text()
    assert "wfrun/provenance" not in text


@pytest.mark.timeout(300)
def test_the_validator_would_find_something(tmp_path: Path) -> None:
    broken = made(tmp_path, record(), ("#control-1", "instrument"), ("#input-scene", "additionalType"))
    found = rocrate.validated(broken, tmp_path / "cache")
    assert [one["passed"] for one in found.values()] == [True, False, False]
    assert "HowToStep" in " ".join(found["provenance-run-crate-0.5"]["issues"])


def test_what_a_crate_says(tmp_path: Path) -> None:
    directory = made(tmp_path, record())
    graph = {one["@id"]: one for one in json.loads((directory / "ro-crate-metadata.json").read_text())["@graph"]}
    assert graph["./"]["license"] == {"@id": "https://spdx.org/licenses/Apache-2.0"}
    assert graph["#image-docker.io%2Flibrary%2Fpython%3A3"]["sha256"] == "ab" * 32
    assert graph[f"{HERE}/files/all/all.txt"]["contentSize"] == "5000000000"
    assert graph["#step-run-3"]["result"][0] == {"@id": f"{HERE}/files/all/all.txt"}
    assert graph["#step-run-1"]["agent"] == {"@id": "https://orcid.org/0000-0002-1825-0097"}
    assert graph["package/package.cwl"]["step"] == [
        {"@id": "package/package.cwl#step-count"},
        {"@id": "package/package.cwl#step-join"},
    ]
    for part in graph["./"]["hasPart"]:
        if "://" not in part["@id"]:
            assert (directory / part["@id"].replace("%C3%A9", "é")).is_file()
    assert json.loads((directory / "provenance" / "record.json").read_text()) == record()
    assert "canary" not in "".join(one.read_text() for one in directory.rglob("*") if one.is_file())


def test_outputs_elsewhere() -> None:
    metadata = crate.metadata(record(), BUNDLE, INSPECTION, HERE, lambda path: f"https://prr.example/{path}")
    assert "https://prr.example/all/all.txt" in {one["@id"] for one in metadata["@graph"]}
