"""Bundles: closed over what a document refers to, within the package, digested."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from broker.errors import EgressRefused, LimitError, PackageError, WorkflowNotFound
from broker.packages import closure
from broker.packages.bundle import Bundle, build
from tests.unit.packages.documents import EOAP, schemas, tool

STEP = "cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nsteps: {one: {run: %s, in: {}, out: []}}\n"
GRAPH = """\
cwlVersion: v1.2
$graph:
- {class: CommandLineTool, id: tool, baseCommand: echo, inputs: [], outputs: []}
- {class: Workflow, id: %s, inputs: [], outputs: [], steps: {one: {run: '#tool', in: {}, out: []}}}
"""


class Files:
    """A `Read` over a dict, which remembers what was asked."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}
        self.asked: list[str] = []

    def put(self, name: str, text: str) -> Files:
        self.files[name] = text
        return self

    def __call__(self, key: str) -> bytes:
        self.asked.append(key)
        if key not in self.files:
            raise FileNotFoundError(2, "No such file or directory", key)
        return self.files[key].encode()

    def listing(self, key: str) -> list[str]:
        return [name.removeprefix(key + "/") for name in self.files if name.startswith(key + "/")]


def test_closes_over_everything() -> None:
    text = (
        "cwlVersion: v1.2\nclass: Workflow\ndoc: {$include: doc.txt}\n"
        "requirements: {SchemaDefRequirement: {types: [{$import: types/t.yml}]}}\n"
        "inputs:\n  f: {type: File, default: {class: File, location: data/f.txt,"
        " secondaryFiles: [{class: File, path: data/f.idx}]}}\n"
        "  d: {type: Directory, default: {class: Directory, location: dir}}\n"
        "outputs: []\nsteps: {one: {run: tools/a.cwl, in: {}, out: []}}\n"
    )
    files = (
        Files()
        .put("doc.txt", "{not: read: as: yaml}")
        .put("types/t.yml", "{type: enum, name: t, symbols: [a]}")
        .put("data/f.txt", "F")
        .put("data/f.idx", "I")
        .put("dir/x/y", "Y")
        .put(
            "tools/a.cwl",
            tool(more="requirements: {InlineJavascriptRequirement: {expressionLib: [{$include: ../lib.js}]}}\n"),
        )
        .put("lib.js", "var a")
    )
    bundle = build(text, read=files, listing=files.listing)
    assert set(bundle.documents) == {"package.cwl", "doc.txt", "types/t.yml", "tools/a.cwl", "lib.js"}
    assert {key: base64.b64decode(data).decode() for key, data in bundle.files.items()} == {
        "data/f.txt": "F",
        "data/f.idx": "I",
        "dir/x/y": "Y",
    }
    assert bundle.entry == "package.cwl"
    assert len(files.asked) == len(set(files.asked))


def test_schemas_are_never_read() -> None:
    files = Files()
    build("$schemas: ['http://127.0.0.1:9/x', ../y.rdf]\n" + tool(), read=files)
    assert files.asked == []


@pytest.mark.parametrize("branch", ["main", "refs/heads/main", "refs/tags/0.2.0"])
def test_eoap_schemas_come_with_the_broker(branch: str) -> None:
    text = tool(more=schemas("string_format").replace("/main/", f"/{branch}/"))
    bundle = build(text)
    assert "name: URI\n" in bundle.documents[EOAP.replace("/main", f"/{branch}") + "/string_format.yaml"]


def test_eoap_schemas_are_only_those() -> None:
    for url in (f"{EOAP}/experimental/../LICENSE.md", f"{EOAP}/NOTICE", "https://example.org/main/ogc.yaml"):
        assert closure.eoap_schema(url) is None
    assert closure.eoap_schema(f"{EOAP}/experimental/process.yaml")


@pytest.mark.parametrize(
    ("name", "wanted", "entry"),
    [
        ("main", None, "main"),
        ("water", None, "water"),
        ("water", "tool", "tool"),
        ("water", "#water", "water"),
        ("main", "package.cwl#tool", "tool"),
    ],
)
def test_chooses_the_process(name: str, wanted: str | None, entry: str) -> None:
    assert build(GRAPH % name, process=wanted).entry == f"package.cwl#{entry}"


def test_a_process_that_is_not_there() -> None:
    with pytest.raises(WorkflowNotFound, match="Did you mean 'water'"):
        build(GRAPH % "water", process="watr")
    with pytest.raises(WorkflowNotFound):
        build(tool(), process="other")


def test_a_single_process_may_be_named() -> None:
    assert build("id: echo\n" + tool(), process="echo").entry == "package.cwl"


@pytest.mark.parametrize(
    "target",
    ["file:///etc/passwd", "FILE:/etc/passwd", "/etc/passwd", "../x.cwl", "a/../../x.cwl", "%2e%2e/x.cwl", "ftp://h/x",
     "data:text/plain,x", "~/x.cwl", "\\\\host\\x"],
)  # fmt: skip
@pytest.mark.parametrize("place", ["run", "include", "default", "import"])
def test_nothing_outside_the_package(target: str, place: str) -> None:
    quoted = json.dumps(target)
    text = {
        "run": STEP % quoted,
        "include": tool(more=f"doc: {{$include: {quoted}}}\n"),
        "import": tool(more=f"requirements: {{SchemaDefRequirement: {{types: [{{$import: {quoted}}}]}}}}\n"),
        "default": tool(f"{{a: {{type: File, default: {{class: File, location: {quoted}}}}}}}"),
    }[place]
    files = Files()
    with pytest.raises(PackageError) as caught:
        build(text, read=files)
    assert caught.value.line
    assert caught.value.hint
    assert files.asked == []


def test_secondary_files_of_defaults() -> None:
    parameter = "{type: File, default: {class: File, path: d/x.bam}, secondaryFiles: [.bai, ^.idx, .no?, $(self.x)]}"
    files = Files().put("d/x.bam", "B").put("d/x.bam.bai", "I").put("d/x.idx", "J")
    assert set(build(tool(f"{{a: {parameter}}}"), read=files).files) == {"d/x.bam", "d/x.bam.bai", "d/x.idx"}


def test_expressions_and_literals_are_no_references() -> None:
    files = Files()
    build(
        tool(
            "{run: string, a: {type: Any, default: {class: File, basename: x, contents: y}}}",
            more="requirements: {InitialWorkDirRequirement: {listing: [{class: File, location: $(inputs.x)}]}}\n",
        ),
        read=files,
    )
    assert files.asked == []


def test_defaults_at_links_are_left_for_the_job() -> None:
    files = Files()
    bundle = build(tool("{a: {type: File, default: {class: File, location: 'https://h/x.tif'}}}"), read=files)
    assert (files.asked, bundle.files) == ([], {})


def test_a_linked_package_reads_beside_itself() -> None:
    files = Files().put("https://h/dir/tools/a.cwl", tool())
    bundle = build(STEP % "tools/a.cwl", name="app.cwl", base="https://h/dir/app.cwl?token=1", read=files)
    assert set(bundle.documents) == {"app.cwl", "tools/a.cwl"}
    assert files.asked == ["https://h/dir/tools/a.cwl"]


def test_remote_documents_refer_beside_themselves() -> None:
    files = Files().put("https://h/a.cwl", STEP % "sub/b.cwl").put("https://h/sub/b.cwl", tool())
    assert set(build(STEP % "https://h/a.cwl", read=files).documents) == {
        "package.cwl",
        "https://h/a.cwl",
        "https://h/sub/b.cwl",
    }


def test_trim_makes_the_shared_directory_the_root() -> None:
    files = Files().put("home/u/tools/a.cwl", tool())
    bundle = build(STEP % "../tools/a.cwl", name="home/u/wf/main.cwl", read=files, trim=True)
    assert bundle.entry == "wf/main.cwl"
    assert set(bundle.documents) == {"wf/main.cwl", "tools/a.cwl"}


def test_circles() -> None:
    files = Files().put("a.yml", "{$import: b.yml}").put("b.yml", "{$import: a.yml}")
    with pytest.raises(PackageError, match="circle"):
        build(tool(more="doc: {$import: a.yml}\n"), read=files)
    with pytest.raises(PackageError, match="runs itself"):
        build(GRAPH.replace("#tool", "#main") % "main")
    files = Files().put("b.cwl", STEP % "package.cwl")
    with pytest.raises(PackageError, match="runs itself"):
        build(STEP % "b.cwl", read=files)


def test_two_documents_may_run_each_others_tools() -> None:
    other = GRAPH.replace("'#tool'", "'package.cwl#tool'") % "main"
    files = Files().put("b.cwl", other)
    text = (GRAPH % "main").replace("'#tool'", "'b.cwl#main'")
    assert set(build(text, read=files).documents) == {"package.cwl", "b.cwl"}


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    many = ", ".join(f"s{number}: {{run: '#tool', in: {{}}, out: []}}" for number in range(501))
    body = (GRAPH % "main").replace("one: {run: '#tool', in: {}, out: []}", many)
    with pytest.raises(LimitError, match="500 steps"):
        build(body)
    files = Files()
    for number in range(30):
        files.put(f"https://h/{number}", "{type: enum, name: t, symbols: [a]}")
    imports = ", ".join(f"{{$import: 'https://h/{number}'}}" for number in range(30))
    with pytest.raises(LimitError, match="network"):
        build(tool(more=f"requirements: {{SchemaDefRequirement: {{types: [{imports}]}}}}\n"), read=files)
    monkeypatch.setattr(closure, "MAX_BUNDLE", 1000)
    with pytest.raises(LimitError):
        build(tool("{a: {type: File, default: {class: File, path: big}}}"), read=Files().put("big", "x" * 2000))


def test_nested_workflows_that_double(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty workflows that each run the next twice are a million steps in a few lines."""
    lines = ["cwlVersion: v1.2", "$graph:", "- {class: CommandLineTool, id: w20, inputs: [], outputs: []}"]
    for number in range(20):
        run = f"{{run: '#w{number + 1}', in: {{}}, out: []}}"
        name = "main" if number == 0 else f"w{number}"
        lines.append(f"- {{class: Workflow, id: {name}, inputs: [], outputs: [], steps: {{a: {run}, b: {run}}}}}")
    with pytest.raises(LimitError, match="steps"):
        build("\n".join(lines))


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file"), EgressRefused("10.0.0.1 is private.")])
def test_what_cannot_be_read_names_the_line(error: Exception) -> None:
    def read(key: str) -> bytes:
        raise error

    with pytest.raises(PackageError, match="cannot be read") as caught:
        build(STEP % "https://h/a.cwl", read=read)
    assert caught.value.line == 5


def test_by_value_nothing_else_is_there() -> None:
    with pytest.raises(PackageError, match="not part of what was sent"):
        build(STEP % "a.cwl")


def test_survives_json_and_notices_changes() -> None:
    bundle = build(GRAPH % "main")
    value: dict[str, Any] = json.loads(json.dumps(bundle.to_json()))
    assert Bundle.from_json(value) == bundle
    assert bundle.digest == build(GRAPH % "main").digest != build(GRAPH % "other").digest
    value["documents"]["package.cwl"] += " "
    with pytest.raises(PackageError, match="digest"):
        Bundle.from_json(value)


@pytest.mark.parametrize(
    "key",
    ["../x", "/x", "a/../../x", "a//b", "./a", "a\\b", "a\nb", "", "_remote/x", "a/" + "x" * 300, "https://u@h/x",
     "https:///x", "https://[/x"],
)  # fmt: skip
@pytest.mark.parametrize("part", ["documents", "files"])
def test_hostile_keys(key: str, part: str) -> None:
    value: dict[str, Any] = {"kind": "cwl", "entry": "p", "documents": {"p": "x"}, "files": {}}
    value[part][key] = "eA=="
    with pytest.raises(PackageError):
        Bundle.from_json(value)


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"kind": "cwl"}, {"kind": "x", "entry": "p", "documents": {"p": ""}, "files": {}},
     {"kind": "cwl", "entry": "q", "documents": {"p": ""}, "files": {}},
     {"kind": "cwl", "entry": "p", "documents": {"p": 1}, "files": {}},
     {"kind": "cwl", "entry": "p", "documents": {"p": ""}, "files": {"f": "%%"}},
     {"kind": "cwl", "entry": "p", "documents": {"p": "\ud800"}, "files": {}}],
)  # fmt: skip
def test_hostile_bundles(value: Any) -> None:
    with pytest.raises(PackageError):
        Bundle.from_json(value)
