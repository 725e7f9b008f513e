"""Loading: cwltool sees the bundle and nothing else, whatever the version and shape of the package."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

import pytest
from cwltool.command_line_tool import CommandLineTool
from cwltool.context import LoadingContext
from cwltool.process import Process
from cwltool.workflow import Workflow, default_make_tool

from broker.errors import PackageError
from broker.packages.bundle import Bundle, build
from broker.runner import loading

TOOL = "class: CommandLineTool\nbaseCommand: echo\ninputs: {a: {type: File, default: {class: File, location: f.txt}}}\n"
DOCUMENTS = {
    "wf/main.cwl": (
        "cwlVersion: v1.2\nclass: Workflow\n"
        "requirements: {SchemaDefRequirement: {types: [{$import: ../types.yml}]}}\n"
        "inputs: {band: '../types.yml#Band'}\noutputs: []\n"
        "steps:\n  zwei: {run: ../tools/a.cwl, in: {}, out: []}\n  eins: {run: https://h/b.cwl, in: {}, out: []}\n"
    ),
    "types.yml": "{type: enum, name: Band, symbols: [red, nir]}",
    "tools/a.cwl": f"cwlVersion: v1.0\n{TOOL}outputs: []\n",
    "https://h/b.cwl": f"cwlVersion: v1.1\n{TOOL}outputs: []\n",
}
FILES = {"tools/f.txt": "QQ==", "https://h/f.txt": "Qg==", "empty/": ""}
BUNDLE = Bundle.make("wf/main.cwl", DOCUMENTS, FILES)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("loading reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def tools(process: Process) -> dict[str, Any]:
    assert isinstance(process, Workflow)
    return {step.id.rpartition("#")[2]: step.embedded_tool for step in process.steps}


def test_loads_and_unpacks(tmp_path: Path) -> None:
    root = tmp_path / "a b#c%20d"
    loading.unpack(BUNDLE, root)
    found = tools(loading.load(BUNDLE, root))
    assert set(found) == {"zwei", "eins"}

    def content(tool: Any) -> str:
        return Path(url2pathname(tool.tool["inputs"][0]["default"]["location"].removeprefix("file://"))).read_text()

    assert (content(found["zwei"]), content(found["eins"])) == ("A", "B")
    assert (root / "wf/main.cwl").read_text() == DOCUMENTS["wf/main.cwl"]
    assert (root / "empty").is_dir()


def test_inspects_without_unpacking() -> None:
    found = loading.inspect(BUNDLE, Path("/nowhere"))
    assert found.steps == ("zwei", "eins")
    assert found.process["inputs"] == [{"type": "types.yml#Band", "id": "band"}]
    assert found.custom_types == {
        "types.yml#Band": {"type": "enum", "name": "types.yml#Band", "symbols": ["red", "nir"]}
    }
    assert "/nowhere" not in str(found)


def test_inspection_is_always_the_same() -> None:
    assert len({str(loading.inspect(BUNDLE, Path("/nowhere")).to_json()) for _ in range(5)}) == 1


@pytest.mark.parametrize("version", ["v1.0", "v1.1", "v1.2"])
@pytest.mark.parametrize("entry", ["#main", "#other", ""])
def test_graphs(version: str, entry: str) -> None:
    text = f"""\
cwlVersion: {version}
$graph:
- class: Workflow
  id: {entry.strip("#") or "main"}
  inputs: []
  outputs: []
  steps: {{one: {{run: '#tool', in: {{}}, out: []}}, two: {{run: '#tool', in: {{}}, out: []}}}}
- {{class: CommandLineTool, id: tool, baseCommand: echo, inputs: [], outputs: []}}
"""
    process = loading.load(build(text, process=entry or None), Path("/nowhere"))
    assert all(isinstance(tool, CommandLineTool) for tool in tools(process).values())


def test_makes_what_the_caller_wants() -> None:
    made: list[str] = []

    def make(tool: Any, context: LoadingContext) -> Process:
        made.append(tool["class"])
        return default_make_tool(tool, context)

    loading.load(BUNDLE, Path("/nowhere"), loading_context=LoadingContext({"construct_tool_object": make}))
    assert made == ["Workflow", "CommandLineTool", "CommandLineTool"]


HOSTILE = {
    "run": "cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nsteps: {a: {run: %s, in: {}, out: []}}\n",
    "import": "cwlVersion: v1.2\nclass: CommandLineTool\ndoc: {$import: %s}\ninputs: []\noutputs: []\n",
    "include": "cwlVersion: v1.2\nclass: CommandLineTool\ndoc: {$include: %s}\ninputs: []\noutputs: []\n",
    "mixin": "cwlVersion: v1.2\nclass: CommandLineTool\ninputs: []\noutputs: []\nhints: [{$mixin: %s}]\n",
}


@pytest.mark.parametrize("place", HOSTILE)
@pytest.mark.parametrize(
    "target",
    ["file:///etc/hostname", "/etc/hostname", "../secret", "http://127.0.0.1:9/x", "https://h/x", "missing.cwl"],
)
def test_serves_only_the_bundle(place: str, target: str, tmp_path: Path) -> None:
    """A hostile bundle, which never went through `build`."""
    (tmp_path / "secret").write_text("SECRET")
    hostname = Path("/etc/hostname").read_text().strip() if Path("/etc/hostname").exists() else "-"
    bundle = Bundle.make("package.cwl", {"package.cwl": HOSTILE[place] % target}, {})
    with pytest.raises(PackageError) as caught:
        loading.load(bundle, tmp_path / "package")
    assert "SECRET" not in str(caught.value)
    assert hostname not in str(caught.value).split()


def test_base_does_not_lead_outside(tmp_path: Path) -> None:
    (tmp_path / "x.cwl").write_text("SECRET")
    text = f"$base: file://{tmp_path}/\n" + HOSTILE["run"] % "x.cwl"
    with pytest.raises(PackageError) as caught:
        loading.load(Bundle.make("package.cwl", {"package.cwl": text}, {}), tmp_path / "package")
    assert "SECRET" not in str(caught.value)


def test_an_error_in_a_tool_names_its_file() -> None:
    documents = {**DOCUMENTS, "tools/a.cwl": DOCUMENTS["tools/a.cwl"].replace("baseCommand", "basecommand")}
    with pytest.raises(PackageError) as caught:
        loading.inspect(Bundle.make("wf/main.cwl", documents, FILES), Path("/nowhere"))
    assert (caught.value.file, caught.value.line) == ("tools/a.cwl", 3)
    assert "baseCommand" in (caught.value.hint or "")


def test_a_bundle_whose_file_is_a_directory_too(tmp_path: Path) -> None:
    bundle = Bundle.make("package.cwl", {"package.cwl": "x"}, {"a": "", "a/b": ""})
    with pytest.raises(PackageError):
        loading.unpack(bundle, tmp_path)


def test_is_fast_when_warm() -> None:
    bundle = build("cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: echo\ninputs: {a: string}\noutputs: []\n")
    loading.inspect(bundle, Path("/nowhere"))
    start = time.process_time()
    for _ in range(10):
        loading.inspect(bundle, Path("/nowhere"))
    assert (time.process_time() - start) / 10 < 0.05
