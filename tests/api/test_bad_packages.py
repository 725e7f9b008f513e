"""Packages that cannot be deployed: each a clear problem document, and nothing registered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.schemas import valid_problem
from tests.api.server import TOOL, Server

YAML = "application/cwl+yaml"
GOOD = TOOL.format(id="bad")
WORKFLOW = """cwlVersion: v1.2
class: Workflow
id: bad
inputs: {text: string}
outputs: {}
steps:
  one:
    run: %s
    in: {text: text}
    out: []
"""
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)

CASES: dict[str, tuple[str, bytes]] = {
    "not CWL": (YAML, b"just: some\nyaml: true\n"),
    "not YAML": (YAML, b"class: [CommandLineTool\ncwlVersion: v1.2\n"),
    "a list": (YAML, b"- 1\n- 2\n"),
    "a text": (YAML, b"hello"),
    "empty": (YAML, b""),
    "no UTF-8": (YAML, b"cwlVersion: v1.2\nclass: \xff\xfe\n"),
    "NUL": (YAML, b"cwlVersion: v1.2\nclass: \x00\n"),
    "other version": (YAML, GOOD.replace("v1.2", "v9.9").encode()),
    "unknown class": (YAML, GOOD.replace("class: CommandLineTool", "class: Spreadsheet").encode()),
    "unknown requirement": (YAML, (GOOD + "requirements: {TeleportRequirement: {}}\n").encode()),
    "wrong type": (YAML, GOOD.replace("type: string,", "type: String,").encode()),
    "wrong structure": (YAML, GOOD.replace("baseCommand: [echo]", "baseCommand: {a: 1}").encode()),
    "missing inputs": (YAML, b"cwlVersion: v1.2\nclass: CommandLineTool\nid: bad\noutputs: []\n"),
    "missing run": (YAML, (WORKFLOW % "x").replace("    run: x\n", "").encode()),
    "run is not there": (YAML, (WORKFLOW % "gone.cwl").encode()),
    "run is a file": (YAML, (WORKFLOW % "file:///etc/passwd").encode()),
    "run leaves": (YAML, (WORKFLOW % "../../etc/passwd").encode()),
    "run is unreachable": (YAML, (WORKFLOW % "https://127.0.0.1:1/tool.cwl").encode()),
    "run is metadata": (YAML, (WORKFLOW % "https://169.254.169.254/latest").encode()),
    "runs itself": (YAML, (WORKFLOW % "'#bad'").encode()),
    "alias bomb": (YAML, (GOOD + BOMB).encode()),
    "deep YAML": (YAML, b"a: " + b"[" * 10_000),
    "deep JSON": ("application/cwl+json", b"[" * 200_000),
    "not JSON": ("application/ogcapppkg+json", b"{"),
    "infinite": ("application/ogcapppkg+json", b'{"executionUnit": 1e999}'),
    "no unit": ("application/ogcapppkg+json", b'{"processDescription": {"id": "bad"}}'),
    "unit by file": ("application/ogcapppkg+json", b'{"executionUnit": {"href": "file:///etc/passwd"}}'),
    "unit unreachable": (
        "application/ogcapppkg+json",
        b'{"executionUnit": {"href": "https://127.0.0.1:1/x.cwl", "type": "application/cwl"}}',
    ),
    "wrong id": (
        "application/ogcapppkg+json",
        json.dumps({"processDescription": {"id": 5}, "executionUnit": {"value": GOOD}}).encode(),
    ),
    "id with a path": (
        "application/ogcapppkg+json",
        json.dumps({"processDescription": {"id": "../a b\u0000"}, "executionUnit": {"value": GOOD}}).encode(),
    ),
    "forged bundle": (
        "application/ogcapppkg+json",
        json.dumps(
            {
                "executionUnit": {
                    "mediaType": "application/vnd.earthcode-broker.bundle+json",
                    "value": {"kind": "cwl", "entry": "../x", "documents": {"../x": GOOD}, "files": {}, "digest": "0"},
                }
            }
        ).encode(),
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("path", ["/processes", "/check"])
def test_bad_packages(still: Server, name: str, path: str) -> None:
    kind, body = CASES[name]
    before = still.get("/processes").json()["processes"]
    answer = still.post(path, data=body, headers={"Content-Type": kind})
    assert 400 <= answer.status_code < 500, answer.text
    problem = valid_problem(answer, answer.status_code)
    assert problem["fault"] in ("package", "limit", "staging", "input")
    assert len(problem["detail"]) > 10
    assert still.get("/processes").json()["processes"] == before


def test_the_place_of_a_mistake_is_told(still: Server) -> None:
    body = GOOD.replace("type: string,", "type: String,")
    problem = valid_problem(still.post("/check", data=body, headers={"Content-Type": YAML}), 400)
    line = 1 + body[: body.index("type: String")].count("\n")
    assert problem["place"]["line"] == line
    assert "String" in problem["detail"]


@pytest.mark.parametrize("size", [3 * 2**20, 10_000_000, 20_000_000])
def test_documents_that_are_too_large(still: Server, size: int) -> None:
    body = GOOD.encode() + b"# " + b"x" * size
    valid_problem(still.post("/processes", data=body, headers={"Content-Type": YAML}), 413)


def test_a_refused_package_frees_its_id(lone: Server) -> None:
    bad = GOOD.replace("type: string,", "type: String,")
    valid_problem(lone.post("/processes", data=bad, headers={"Content-Type": YAML}), 400)
    assert lone.post("/processes", data=GOOD, headers={"Content-Type": YAML}).status_code == 201
    valid_problem(lone.put("/processes/bad", data=bad, headers={"Content-Type": YAML}), 400)
    described: dict[str, Any] = lone.get("/processes/bad").json()
    assert described["revision"] == 1


def test_nul_in_what_becomes_a_column(api: Server) -> None:
    """PostgreSQL takes no NUL in a text."""
    odd = GOOD + '$namespaces: {s: "https://schema.org/"}\ns:softwareVersion: "1\\0"\nlabel: "a\\0b"\n'
    answer = api.post("/processes", data=odd, headers={"Content-Type": YAML})
    assert answer.status_code in (201, 400), answer.text
    for version in ("1\0", "x" * 300):
        body = {"processDescription": {"id": "v", "version": version}, "executionUnit": {"value": GOOD}}
        answer = api.post("/processes", json=body)
        assert answer.status_code in (201, 400, 409), answer.text
