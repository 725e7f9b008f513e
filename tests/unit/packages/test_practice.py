"""Our reading of the best practice for EO applications gives what eoap-validator gives, document by document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.packages import practice
from broker.packages.bundle import Bundle, build
from broker.runner import loading
from tests.peers.eoap import TREE, reports

DATA = TREE / "tests" / "data" / "eoap"
WATER = "../../../workflows/water-bodies/package.cwl"
# Documents, as the validator is told of them; * are those that it accepts.
SOURCES = {
    "good.cwl": True,
    "rich.cwl#rich": True,
    "bare.cwl": False,
    "lists.cwl#outer": False,
    "expression.cwl": False,
    "other-file.cwl": False,
    WATER: True,
}
PLACES_DIFFER = ("EOAP.PROCESS.EXTERNAL_REFERENCE", "EOAP.SCHEMA.LOCAL_IMPORT")  # named by position there


@pytest.fixture(scope="module")
def theirs() -> dict[str, dict[str, Any]]:
    return dict(zip(SOURCES, reports([str(DATA / source) for source in SOURCES]), strict=True))


def bundle(source: str) -> Bundle:
    path, _, process = (DATA / source).resolve().as_posix().partition("#")
    file = Path(path)
    return build(
        file.read_bytes(), name=file.name, process=process or None, read=lambda key: (file.parent / key).read_bytes()
    )


def placed(rule: str, error: bool, path: str) -> tuple[str, bool, str]:
    return rule, error, "" if rule in PLACES_DIFFER else path


@pytest.mark.parametrize("source", SOURCES)
def test_the_same_findings(source: str, theirs: dict[str, dict[str, Any]]) -> None:
    report = theirs[source]
    assert not report["operational_failure"]
    expected = {
        placed(one["rule_id"], one["severity"] == "error", one["location"]["path"])
        for one in report["findings"]
        if one["status"] in ("failed", "needs-review")
    }
    found = practice.findings(bundle(source))
    assert {placed(one.rule, one.error, one.path) for one in found} == expected
    assert any(one.error for one in found) is not SOURCES[source]


@pytest.mark.parametrize("source", SOURCES)
def test_what_it_accepts_can_be_deployed(source: str, theirs: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    assert (theirs[source]["exit_code"] == 0) is SOURCES[source]
    inspection = loading.inspect(bundle(source), tmp_path)
    told = [one for one in inspection.warnings if one.startswith("Best practice")]
    assert bool(told) is (source in ("bare.cwl", "lists.cwl#outer", WATER)), "only of those that stage directories"
    if source == "bare.cwl":
        assert "(EOAP.REQ11.VERSION, line 1)" in told[0]


def test_lines() -> None:
    (found,) = [one for one in practice.findings(bundle("lists.cwl#outer")) if one.rule == "EOAP.REQ10.DOC"]
    assert (found.file, found.line, found.path) == ("lists.cwl", 17, "outer/inputs/level")
    assert "level" in (DATA / "lists.cwl").read_text().splitlines()[16]


def test_a_tool_alone_is_no_such_package() -> None:
    assert practice.findings(bundle("tool.cwl")) == []
