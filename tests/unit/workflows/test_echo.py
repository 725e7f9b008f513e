"""The echo package keeps the contract that the OGC test suite relies on, and really echoes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cwltool.context import RuntimeContext
from cwltool.executors import SingleJobExecutor

TIFF = "https://www.iana.org/assignments/media-types/image/tiff"


@pytest.fixture(scope="module")
def document(echo: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((echo / "package.cwl").read_text(encoding="utf-8"))
    return content


@pytest.fixture(scope="module")
def process(echo: Path, load: Callable[..., Any]) -> Any:
    return load(echo / "package.cwl")


def run(process: Any, job_order: dict[str, Any], outdir: Path) -> dict[str, Any]:
    """Runs the package with cwltool, without a container; gives the output object."""
    context = RuntimeContext({"use_container": False, "outdir": str(outdir), "basedir": str(outdir)})
    outputs, status = SingleJobExecutor()(process, job_order, context)
    assert status == "success"
    assert outputs is not None
    return dict(outputs)


def test_the_string_comes_first_and_has_an_output_of_the_same_id(document: dict[str, Any]) -> None:
    first = next(iter(document["inputs"]))
    assert document["inputs"][first]["type"] == "string"
    assert document["outputs"][first]["type"] == "string"


def test_only_the_string_is_required(document: dict[str, Any]) -> None:
    def optional(port: dict[str, Any]) -> bool:
        kind = port["type"]
        return "default" in port or "null" in kind or str(kind).endswith("?")

    assert [name for name, port in document["inputs"].items() if not optional(port)] == ["message"]


def test_no_other_input_takes_the_test_string_for_a_value_of_its_own(document: dict[str, Any]) -> None:
    others = [port["type"] for name, port in document["inputs"].items() if name != "message"]
    assert not {"string", "string?", "string[]", "string[]?"} & {kind for kind in others if isinstance(kind, str)}


def test_the_first_object_takes_a_text_and_the_box_any_reference_system(document: dict[str, Any]) -> None:
    names = list(document["inputs"])
    assert max(names.index("object"), names.index("image")) < names.index("bbox")
    assert "string" in document["inputs"]["object"]["type"]
    box = document["inputs"]["bbox"]["type"][1]
    assert box["name"] == "BBox"
    assert box["fields"] == {"bbox": "double[]", "crs": "string?"}


def test_inputs_and_outputs_are_labelled(document: dict[str, Any]) -> None:
    ports = [*document["inputs"].values(), *document["outputs"].values()]
    assert all(port["label"] and port["doc"] for port in ports)


def test_it_starts_neither_shell_nor_script_engine(document: dict[str, Any]) -> None:
    assert document["baseCommand"] == "sleep"
    assert set(document["requirements"]) == {"ResourceRequirement"}


def test_the_string_alone_comes_back(echo: Path, process: Any, tmp_path: Path) -> None:
    job_order = yaml.safe_load((echo / "inputs.yml").read_text(encoding="utf-8"))
    assert run(process, job_order, tmp_path) == {"message": job_order["message"]}


def test_each_kind_of_value_is_taken(echo: Path, process: Any, tmp_path: Path) -> None:
    inputs = json.loads((echo / "inputs.json").read_text(encoding="utf-8"))["inputs"]
    expected = json.loads((echo / "expected.json").read_text(encoding="utf-8"))["results"]
    assert inputs.keys() == process_inputs(process)

    image = tmp_path / "image.tif"
    image.write_bytes(base64.b64decode(inputs["image"]["value"]))
    job_order = {
        **inputs,
        "object": inputs["object"]["value"],
        "image": {"class": "File", "location": image.as_uri(), "format": TIFF},
    }
    outputs = run(process, job_order, tmp_path / "out")

    assert outputs == expected


@pytest.mark.parametrize("value", ["teststring", None])
def test_the_object_may_be_a_text_or_nothing(process: Any, tmp_path: Path, value: str | None) -> None:
    assert run(process, {"message": "hi", "object": value}, tmp_path) == {"message": "hi"}


def process_inputs(process: Any) -> set[str]:
    """The short names of the inputs of a loaded process."""
    return {port["id"].rpartition("/")[2].rpartition("#")[2] for port in process.tool["inputs"]}
