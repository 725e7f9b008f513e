"""Part 1, ogc-process-description."""

from __future__ import annotations

from typing import Any

from tests.api.schemas import validate
from tests.conformance.ogc.iut import Iut


def described(iut: Iut) -> list[dict[str, Any]]:
    return [iut.json(f"/processes/{one['id']}") for one in iut.json("/processes")["processes"]]


def test_req_ogc_process_description_json_encoding(iut: Iut) -> None:
    for one in described(iut):
        validate(one, "process")


def test_req_ogc_process_description_inputs_def(iut: Iut) -> None:
    for process in described(iut):
        for one in process["inputs"].values():
            validate(one, "inputDescription")


def test_req_ogc_process_description_input_def(iut: Iut) -> None:
    for process in described(iut):
        for name, one in process["inputs"].items():
            validate(one["schema"], "schema")
            if one["schema"].get("type") == "integer":  # what it says is what is checked
                answer = iut.execute(process["id"], {"inputs": {"message": "m", name: "no number"}})
                assert answer.status_code == 400
                assert answer.json()["errors"][0]["pointer"].endswith(name)


def test_req_ogc_process_description_input_mixed_type(iut: Iut) -> None:
    schema = iut.json("/processes/echo")["inputs"]["object"]["schema"]
    assert [one["type"] for one in schema["oneOf"]] == ["string", "object"]


def test_req_ogc_process_description_input_binary(iut: Iut) -> None:
    schema = iut.json("/processes/echo")["inputs"]["image"]["schema"]
    validate(schema, "schema")
    assert "image/tiff" in str(schema)
    value = {"value": "SUkqAAgAAAA=", "encoding": "base64", "mediaType": "image/tiff"}
    assert iut.echo(image=value).status_code == 200


def test_req_ogc_process_description_outputs_def(iut: Iut) -> None:
    for process in described(iut):
        for one in process["outputs"].values():
            validate(one, "outputDescription")


def test_req_ogc_process_description_output_def(iut: Iut) -> None:
    for process in described(iut):
        for one in process["outputs"].values():
            validate(one["schema"], "schema")


def test_req_ogc_process_description_output_mixed_type(iut: Iut) -> None:
    schema = iut.json("/processes/outputs")["outputs"]["either"]["schema"]
    assert [one["type"] for one in schema["oneOf"]] == ["string", "integer"]
