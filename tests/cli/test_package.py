"""Packages on disk: what belongs to them is taken along, what lies outside is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from broker.cli.package import load, secondary_files
from broker.errors import InputError, PackageError, UnsupportedPackage
from broker.packages.bundle import Bundle
from broker.packages.cwl import parse

TOOL = """cwlVersion: v1.2
class: CommandLineTool
baseCommand: echo
inputs:
  data: {type: File, secondaryFiles: [.idx, "$(self.basename)"]}
  more: {type: {type: array, items: File}, secondaryFiles: [{pattern: ^.aux, required: false}, .opt?]}
  plain: string?
outputs: []
"""
FLOW = """cwlVersion: v1.2
class: Workflow
inputs: {data: File}
outputs: []
steps:
  one: {run: ../tools/tool.cwl, in: {data: data, more: {default: []}}, out: []}
"""
GRAPH = """cwlVersion: v1.2
$graph:
- {class: CommandLineTool, id: first, baseCommand: x, inputs: {a: int}, outputs: []}
- {class: CommandLineTool, id: second, baseCommand: y, inputs: {b: int}, outputs: []}
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "tool.cwl").write_text(TOOL)
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "flow.cwl").write_text(FLOW)
    return tmp_path


def test_siblings_belong_to_a_package_inside_its_work_tree(tree: Path) -> None:
    (tree / ".git").mkdir()
    package = load(str(tree / "flows" / "flow.cwl"))
    assert package.bundle.entry == "flows/flow.cwl"
    assert set(package.bundle.documents) == {"flows/flow.cwl", "tools/tool.cwl"}
    assert Bundle.from_json(package.bundle.to_json()) == package.bundle


def test_without_a_work_tree_the_directory_is_the_border_and_root_moves_it(tree: Path) -> None:
    with pytest.raises(PackageError, match="--root"):
        load(str(tree / "flows" / "flow.cwl"))
    assert len(load(str(tree / "flows" / "flow.cwl"), root=tree).bundle.documents) == 2


def test_a_link_out_of_the_package_is_not_followed(tree: Path) -> None:
    (tree / "secret").write_text("password")
    inside = tree / "tools" / "key.txt"
    inside.symlink_to(tree / "secret")
    (tree / "tools" / "bad.cwl").write_text(TOOL.replace("inputs:", "arguments: [{$include: key.txt}]\ninputs:"))
    with pytest.raises(PackageError, match="outside"):
        load(str(tree / "tools" / "bad.cwl"))


def test_the_digest_does_not_depend_on_where_the_package_lies(tmp_path: Path) -> None:
    digests = set()
    for where in ("a", "b/c"):
        (tmp_path / where).mkdir(parents=True)
        (tmp_path / where / "p.cwl").write_text(TOOL)
        digests.add(load(str(tmp_path / where / "p.cwl")).bundle.digest)
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("file", "text", "process", "expected"),
    [
        ("crop.cwl", TOOL, "", "crop"),
        ("package.cwl", TOOL, "", "water"),
        ("package.cwl", TOOL.replace("class:", "id: my-tool\nclass:"), "", "my-tool"),
        ("package.cwl", TOOL.replace("class:", "id: '#main'\nclass:"), "", "water"),
        ("x.cwl", GRAPH, "#second", "second"),
        ("my app.cwl", TOOL, "", "my-app"),
    ],
)
def test_the_process_id(tmp_path: Path, file: str, text: str, process: str, expected: str) -> None:
    (tmp_path / "water").mkdir()
    (tmp_path / "water" / file).write_text(text)
    assert load(f"{tmp_path / 'water' / file}{process}").process_id == expected


def test_file_urls_and_a_hash_in_a_name(tmp_path: Path) -> None:
    file = tmp_path / "a#b c.cwl"
    file.write_text(TOOL)
    assert load(str(file)).bundle.digest == load(file.as_uri()).bundle.digest


def test_a_file_that_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match=r"nowhere\.cwl cannot be read"):
        load("nowhere.cwl")


def test_patterns_of_secondary_files(tree: Path) -> None:
    package = load(str(tree / "tools" / "tool.cwl"))
    found = secondary_files(package.process)
    assert {name: list(beside.patterns) for name, beside in found.items()} == {
        "data": [".idx"],
        "more": ["^.aux", ".opt"],
        "plain": [],
    }


def test_patterns_of_records_and_named_types() -> None:
    record = {"name": "#pair", "type": "record", "fields": {"f1": {"type": "File", "secondaryFiles": ".s"}}}
    process = {
        "requirements": {"SchemaDefRequirement": {"types": [record]}},
        "inputs": [{"id": "one", "type": "#pair"}, {"id": "many", "type": [None, {"type": "array", "items": "pair"}]}],
    }
    found = secondary_files(process)
    assert found["one"].fields["f1"].patterns == [".s"]
    assert found["many"].fields["f1"].patterns == [".s"]


def test_requirements_of_a_job_order_win(tree: Path) -> None:
    package = load(str(tree / "tools" / "tool.cwl"))
    changed = package.with_requirements([{"class": "NetworkAccess", "networkAccess": True}])
    document = parse(changed.bundle.documents["tool.cwl"], "tool.cwl")
    assert document["requirements"] == [{"class": "NetworkAccess", "networkAccess": True}]
    again = changed.with_requirements({"NetworkAccess": {"networkAccess": False}})
    document = parse(again.bundle.documents["tool.cwl"], "tool.cwl")
    assert document["requirements"] == [{"class": "NetworkAccess", "networkAccess": False}]
    assert package.bundle.digest != changed.bundle.digest


def test_requirements_of_a_job_order_are_not_for_v1_0(tmp_path: Path) -> None:
    (tmp_path / "old.cwl").write_text(TOOL.replace("v1.2", "v1.0"))
    with pytest.raises((InputError, UnsupportedPackage), match=r"v1\.0"):
        load(str(tmp_path / "old.cwl")).with_requirements([{"class": "NetworkAccess"}])


def test_an_openeo_process_is_a_package(tmp_path: Path) -> None:
    graph = {"sum": {"process_id": "add", "arguments": {"x": 1, "y": 2}, "result": True}}
    file = tmp_path / "below" / "sum.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"id": "one-and-two", "process_graph": graph}))
    found = load(str(file), root=tmp_path)
    assert (found.process_id, found.bundle.kind, found.bundle.entry) == ("one-and-two", "openeo", "sum.json")
    assert secondary_files(found.process) == {}
