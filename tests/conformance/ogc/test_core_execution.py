"""Part 1, core: execute requests, their inputs and modes."""

from __future__ import annotations

import base64

import pytest

from tests.api.schemas import validate
from tests.conformance.ogc.iut import MESSAGE, Iut

TIFF = b"II*\0\x08\0\0\0\0\0\0\0\0\0"


def test_req_core_process_execute_op(iut: Iut) -> None:
    assert iut.execute("echo", {"inputs": MESSAGE}).status_code == 200


def test_req_core_process_execute_request(iut: Iut) -> None:
    body = {"inputs": MESSAGE, "outputs": {"message": {"transmissionMode": "value"}}, "response": "document"}
    validate(body, "execute")
    answer = iut.execute("echo", body)
    assert answer.json() == {"message": "teststring"}
    assert iut.execute("echo", {"invalid-execute-request": "1"}).status_code == 400


def test_req_core_process_execute_inputs(iut: Iut) -> None:
    address = iut.web.serve("/scene.tif", TIFF, media_type="image/tiff")
    assert iut.echo(double=1.5).status_code == 200
    assert iut.echo(image={"href": address, "type": "image/tiff"}).status_code == 200
    assert "/scene.tif" in [request.path for request in iut.web.requests]


def test_req_core_process_execute_input_array(iut: Iut) -> None:
    assert iut.echo(array=[1, 2, 3]).status_code == 200
    assert iut.echo(array=[1]).status_code == 200


def test_req_core_process_execute_input_inline_object(iut: Iut) -> None:
    assert iut.echo(object={"value": {"name": "depth", "amount": 4.5}}).status_code == 200


def test_req_core_process_execute_input_mixed_type(iut: Iut) -> None:
    for value in ({"name": "depth"}, "a text"):
        assert iut.echo(object={"value": value, "mediaType": "application/json"}).status_code == 200


def test_req_core_process_execute_input_inline_binary(iut: Iut) -> None:
    value = {"value": base64.b64encode(TIFF).decode(), "encoding": "base64", "mediaType": "image/tiff"}
    assert iut.echo(image=value).status_code == 200
    assert iut.echo(image=value | {"value": "*not base64*"}).status_code == 400


def test_req_core_process_execute_input_inline_bbox(iut: Iut) -> None:
    for crs in ("http://www.opengis.net/def/crs/OGC/1.3/CRS84", "urn:ogc:def:crs:EPSG:6.6:4326"):
        value = {"bbox": [51.9, 7.0, 52.0, 7.1], "crs": crs}
        assert iut.echo(bbox=value).status_code == 200
    validate(value | {"crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}, "bbox")
    assert iut.echo(bbox={"bbox": [51.9, 7.0, 0.0, 52.0, 7.1, 10.0]}).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [("message", 1), ("array", ["a"]), ("double", "one"), ("boolean", "yes"), ("pause", 1.5), ("nothing", 1)],
)
def test_req_core_process_execute_input_validation(iut: Iut, name: str, value: object) -> None:
    answer = iut.echo(**{name: value})
    assert answer.status_code == 400
    validate(answer.json(), "exception")
    assert name in answer.json()["errors"][0]["pointer"]


def test_req_core_process_execute_default_outputs(iut: Iut) -> None:
    body = {"inputs": {"text": "hello"}, "response": "document"}
    assert set(iut.execute("outputs", body).json()) == {"said", "text", "either"}


def test_req_core_process_execute_default_execution_mode(iut: Iut) -> None:
    options = iut.json("/processes/echo")["jobControlOptions"]
    assert {"sync-execute", "async-execute"} <= set(options)
    assert iut.execute("echo", {"inputs": MESSAGE}).status_code == 200  # both are possible: synchronously


def test_req_core_process_execute_auto_execution_mode(iut: Iut) -> None:
    answer = iut.execute("echo", {"inputs": MESSAGE}, "respond-async")
    assert answer.status_code == 201
    assert answer.headers["Preference-Applied"] == "respond-async"


def test_req_core_process_execute_success_async(iut: Iut) -> None:
    answer = iut.execute("echo", {"inputs": MESSAGE}, "respond-async")
    assert answer.status_code == 201
    validate(answer.json(), "statusInfo")
    assert answer.headers["Location"] == f"{iut.url}/jobs/{answer.json()['jobID']}"
    assert iut.get(answer.headers["Location"]).status_code == 200
