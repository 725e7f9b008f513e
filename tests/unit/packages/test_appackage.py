"""Deploy bodies: each variant of Part 2 and of its clients gives the same bundle; bad ones say why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.errors import (
    BrokerError,
    LimitError,
    PackageError,
    StagingError,
    UnsupportedMediaType,
    UnsupportedPackage,
    WorkflowNotFound,
)
from broker.packages.appackage import deployment
from broker.packages.bundle import Bundle, build
from broker.packages.deployment import Deployment
from broker.packages.describe import describe
from broker.packages.media import BUNDLE_TYPE
from broker.runner import loading
from tests.unit.packages.documents import tool

TEXT = "id: echo\n" + tool("{a: string}", "{o: stdout}")
JSON: Any = yaml.safe_load(TEXT)
PACKAGE = "application/ogcapppkg+json"
GRAPH = """\
cwlVersion: v1.2
$graph:
- {class: Workflow, id: one, inputs: [], outputs: [], steps: []}
- {class: Workflow, id: two, inputs: [], outputs: [], steps: []}
"""


def read(reference: str) -> bytes:
    if reference == "https://h/app.cwl":
        return TEXT.encode()
    if reference == "https://h/graph.cwl":
        return GRAPH.encode()
    raise StagingError(f"{reference} answers 404.")


def deploy(body: Any, media: str, process: str | None = None) -> Deployment:
    data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return deployment(data, media, process=process, read=read)


LINK = {"href": "https://h/app.cwl", "type": "application/cwl"}
BODIES = {
    "cwl": (TEXT, "application/cwl"),
    "cwl with charset": (TEXT, "application/cwl; charset=utf-8"),
    "cwl+yaml": (TEXT, "application/cwl+yaml"),
    "yaml": (TEXT, "application/yaml"),
    "cwl+json": (JSON, "application/cwl+json"),
    "cwl as json": (JSON, "application/json"),
    "link": ({"executionUnit": LINK}, PACKAGE),
    "link as json": ({"executionUnit": LINK}, "application/json"),
    "array of a link": ({"executionUnit": [LINK]}, PACKAGE),
    "value": ({"executionUnit": {"value": JSON, "mediaType": "application/cwl+json"}}, PACKAGE),
    "value without type": ({"executionUnit": {"value": JSON}}, PACKAGE),
    "value as text": ({"executionUnit": {"value": TEXT, "mediaType": "application/cwl+yaml"}}, PACKAGE),
    "unit": ({"executionUnit": [{"unit": JSON}]}, PACKAGE),
    "cwl in place of a unit": ({"executionUnit": JSON}, PACKAGE),
    "bundle": ({"executionUnit": {"value": build(TEXT).to_json(), "mediaType": BUNDLE_TYPE}}, PACKAGE),
    "bundle itself": (build(TEXT).to_json(), BUNDLE_TYPE),
}


@pytest.mark.parametrize("case", BODIES)
def test_variants(case: str) -> None:
    found = deploy(*BODIES[case])
    (text,) = found.bundle.documents.values()
    assert yaml.safe_load(text) == JSON
    assert (found.process_id, found.kind) == ("echo", "cwl")
    inspection = loading.inspect(found.bundle, Path("/package"))
    assert [one["id"] for one in inspection.process["inputs"]] == ["a"]


def test_the_body_is_kept() -> None:
    assert deploy(TEXT, "application/cwl").body == TEXT.encode()
    assert deploy(TEXT, "application/yaml").media_type == "application/cwl+yaml"
    assert deploy({"executionUnit": LINK}, "application/json").media_type == PACKAGE


@pytest.mark.parametrize(
    "described",
    [
        {"id": "mine", "title": "T", "version": "3"},
        {"process": {"id": "mine", "title": "T", "version": "3"}},
        {"process": "mine", "title": "T", "version": "3"},
    ],
)
def test_process_descriptions(described: Any) -> None:
    found = deploy({"processDescription": described, "executionUnit": LINK}, PACKAGE)
    assert found.process_id == "mine"
    inspection = loading.inspect(found.bundle, Path("/package"))
    description = describe(inspection, process_id=found.process_id, overrides=found.description_overrides)
    assert (description["id"], description["title"], description["version"]) == ("mine", "T", "3")


@pytest.mark.parametrize(
    ("process", "href", "entry"),
    [
        (None, "https://h/graph.cwl", "graph.cwl#one"),
        ("two", "https://h/graph.cwl", "graph.cwl#two"),
        (None, "https://h/graph.cwl#two", "graph.cwl#two"),
    ],
)
def test_the_workflow_of_a_graph(process: str | None, href: str, entry: str) -> None:
    found = deploy({"executionUnit": {"href": href}}, PACKAGE, process)
    assert found.bundle.entry == entry
    assert found.process_id == entry.partition("#")[2]


def test_the_workflow_of_a_bundle() -> None:
    body = {"executionUnit": {"value": build(GRAPH).to_json(), "mediaType": BUNDLE_TYPE}}
    assert deploy(body, PACKAGE, "two").bundle.entry == "package.cwl#two"
    with pytest.raises(WorkflowNotFound):
        deploy(body, PACKAGE, "three")


def test_bundles_are_checked_as_other_packages() -> None:
    text = GRAPH.replace("steps: []", "steps: {a: {run: '#one', in: {}, out: []}}", 1)
    value = Bundle.make("package.cwl#one", {"package.cwl": text}, {}).to_json()
    with pytest.raises(PackageError, match="runs itself"):
        deploy({"executionUnit": {"value": value, "mediaType": BUNDLE_TYPE}}, PACKAGE)
    operation = Bundle.make("package.cwl", {"package.cwl": tool().replace("CommandLineTool", "Operation")}, {})
    with pytest.raises(UnsupportedPackage):
        deploy(operation.to_json(), BUNDLE_TYPE)


def test_a_bundle_keeps_its_files() -> None:
    text = tool(
        "{f: {type: File, default: {class: File, path: f}}, d: {type: Directory, default: {class: Directory, path: d}}}"
    )
    bundle = Bundle.make("package.cwl", {"package.cwl": text}, {"f": "QQ==", "d/x": "Qg==", "unused": "Qw=="})
    assert set(deploy(bundle.to_json(), BUNDLE_TYPE).bundle.files) == {"f", "d/x"}


IMAGE = {
    "processDescription": {
        "id": "band-math",
        "title": "Band math",
        "version": "1.0",
        "inputs": {
            "il": {"maxOccurs": 4, "schema": {"oneOf": [{"type": "string", "contentMediaType": "image/tiff"}]}},
            "out": {"schema": {"type": "string", "default": "float", "enum": ["float", "int32", "int32"]}},
            "ram": {"schema": {"type": "integer", "default": 128, "nullable": True}},
            "exp": {"schema": {"type": "string"}},
        },
        "outputs": {"result": {"schema": {"type": "string", "contentMediaType": "image/tiff"}}},
        "additionalParameters": [{"name": "entry-point", "value": "singularity exec x.sif otbcli_BandMath -v"}],
    },
    "executionUnit": {
        "type": "docker",
        "image": "docker://otbtf/4.1.0-cpu",
        "config": {"cpuMin": 2, "memoryMin": 1, "memoryMax": 3, "jobTimeout": 60},
        "bindings": {"inputBindings": {"exp": {"prefix": "-exp="}}},
    },
}


def test_a_container_image() -> None:
    found = deploy(IMAGE, PACKAGE)
    inspection = loading.inspect(found.bundle, Path("/package"))
    assert (found.kind, found.process_id) == ("docker", "band-math")
    assert inspection.needs.images == {"otbtf/4.1.0-cpu": True}
    assert (inspection.needs.cores, inspection.needs.ram_mib, inspection.needs.time_limit) == (2, 954, 60)
    document = json.loads(found.bundle.documents["package.cwl"])
    assert document["baseCommand"] == ["otbcli_BandMath", "-v"]
    assert document["inputs"]["exp"]["inputBinding"] == {"prefix": "-exp=", "separate": False}
    description = describe(inspection, overrides=found.description_overrides)
    assert description["inputs"]["il"]["maxOccurs"] == 4
    assert description["inputs"]["ram"]["minOccurs"] == 0


def graph_of(name: str, more: str = "", version: str = "v1.2") -> Any:
    return yaml.safe_load(tool("{a: string}", "{o: stdout}").replace("v1.2", version) + f"id: {name}\n" + more)


WORKFLOW: Any = yaml.safe_load(
    "{cwlVersion: v1.2, class: Workflow, id: flow, inputs: {a: string}, outputs: {o: {type: File, outputSource: s/o}},"
    " steps: {s: {run: '#first', in: {a: a}, out: [o]}}}"
)


def test_many_units_are_one_package(tmp_path: Path) -> None:
    units = [
        {"value": graph_of("first"), "mediaType": "application/cwl+json"},
        {"unit": WORKFLOW},
        graph_of("third", "$namespaces: {s: https://schema.org/}"),
    ]
    found = deploy({"executionUnit": units}, PACKAGE)
    assert found.bundle.entry == "package.cwl#flow"
    assert loading.inspect(found.bundle, tmp_path).steps == ("s",)
    assert json.loads(found.bundle.documents["package.cwl"])["$namespaces"] == {"s": "https://schema.org/"}
    assert deploy({"executionUnit": units}, PACKAGE, "third").bundle.entry == "package.cwl#third"
    described = {"processDescription": {"id": "first"}, "executionUnit": units}
    assert deploy(described, PACKAGE).bundle.entry == "package.cwl#first"


@pytest.mark.parametrize(
    ("units", "words"),
    [
        ([graph_of("a"), graph_of("a")], "have the id 'a'"),
        ([graph_of("a"), graph_of("b", version="v1.0")], "different versions"),
        ([graph_of("a"), JSON | {"id": ""}], "has no id"),
        ([WORKFLOW, graph_of("b")], "first"),
        ([graph_of(f"p{number}") for number in range(51)], "51 execution units"),
    ],
)
def test_units_that_do_not_go_together(units: list[Any], words: str) -> None:
    with pytest.raises(PackageError, match=words):
        deploy({"executionUnit": units}, PACKAGE)


BAD: dict[str, tuple[Any, str, type[BrokerError]]] = {
    "text": (TEXT, "text/plain", UnsupportedMediaType),
    "no type": (TEXT, "", UnsupportedMediaType),
    "not JSON": (TEXT, "application/json", PackageError),
    "not UTF-8": (b"\xff\xfe", "application/json", PackageError),
    "nested": ("[" * 200_000, "application/json", PackageError),
    "nested less": ("[" * 500 + "]" * 500, PACKAGE, PackageError),
    "a list": ([], PACKAGE, PackageError),
    "no unit": ({"processDescription": {}}, PACKAGE, PackageError),
    "unit a number": ({"executionUnit": 5}, PACKAGE, PackageError),
    "no units": ({"executionUnit": []}, PACKAGE, UnsupportedPackage),
    "two of one id": ({"executionUnit": [LINK, LINK]}, PACKAGE, PackageError),
    "unknown unit": ({"executionUnit": {"type": "jupyter"}}, PACKAGE, UnsupportedPackage),
    "unit of a media type": ({"executionUnit": {"value": "", "mediaType": "text/x-r"}}, PACKAGE, UnsupportedMediaType),
    "link to a file": ({"executionUnit": {"href": "file:///etc/passwd"}}, PACKAGE, PackageError),
    "link to nothing": ({"executionUnit": {"href": "https://h/nothing"}}, PACKAGE, PackageError),
    "link a number": ({"executionUnit": {"href": 5}}, PACKAGE, PackageError),
    "docker without image": ({"executionUnit": {"type": "docker"}}, PACKAGE, PackageError),
    "description a text": ({"processDescription": "x", "executionUnit": LINK}, PACKAGE, PackageError),
    "id a number": ({"processDescription": {"id": 5}, "executionUnit": LINK}, PACKAGE, PackageError),
    "bundle broken": ({"executionUnit": {"value": {"kind": "cwl"}, "mediaType": BUNDLE_TYPE}}, PACKAGE, PackageError),
    "10 MB": ("a: " + "x" * 10_000_000, "application/cwl", LimitError),
    "20 MB": ('{"a": "' + "x" * 20_000_000 + '"}', PACKAGE, LimitError),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_bodies(case: str) -> None:
    body, media, error = BAD[case]
    with pytest.raises(error) as caught:
        deploy(body, media)
    assert str(caught.value)


def test_a_line_of_bad_json_is_named() -> None:
    with pytest.raises(PackageError) as caught:
        deploy('{\n "executionUnit": {,}\n}', PACKAGE)
    assert (caught.value.line, caught.value.column) == (2, 20)
