"""From the fields of a form to the body of an execution, and to the same on a command line: without a server."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.api.executeforms import Filled, command, request_of
from broker.api.inputfields import fields
from broker.cli import joborder

BBOX = {"type": "object", "format": "ogc-bbox", "properties": {"crs": {"type": "string", "default": "x"}}}
LINK = {"oneOf": [{"type": "string", "format": "uri", "contentMediaType": "image/tiff"}, {"type": "object"}]}


def description(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": {"it": {"title": "It", "schema": schema, **more}}}


def read(schema: dict[str, Any], *texts: str, crs: str = "", **more: Any) -> Any:
    """The value of the input for these texts; its error as a text."""
    filled = Filled({"in:it": list(texts), "crs:it": [crs]})
    body, wrong = request_of(fields(description(schema, **more)), filled)
    return wrong["it"] if wrong else body["inputs"].get("it")


@pytest.mark.parametrize(
    ("schema", "texts", "value"),
    [
        ({"type": "string"}, ["  kept as it is "], "  kept as it is "),
        ({"type": "string"}, ["3"], "3"),
        ({"type": "string", "contentMediaType": "text/plain"}, ["a\r\nb"], "a\nb"),
        ({"type": "integer"}, [" -7 "], -7),
        ({"type": "number"}, ["1e3"], 1000.0),
        ({"type": "number"}, ["2"], 2),
        ({"type": "boolean"}, ["false"], False),
        ({"type": "string", "enum": ["a", "b"]}, ["b"], "b"),
        ({"type": "array", "items": {"type": "number"}}, ["1\r\n\r\n2.5\r\n"], [1, 2.5]),
        ({"type": "array", "items": {"type": "number"}}, ["[1, 2]"], [1, 2]),
        ({"type": "array", "items": {"type": "string"}}, ["a\nb c"], ["a", "b c"]),
        ({"type": "array", "items": {"type": "string", "enum": ["r", "g"]}}, ["r", "g"], ["r", "g"]),
        ({"type": "object"}, ['{"a": [1]}'], {"a": [1]}),
        (BBOX, ["1", "-2.5", "3", "4"], {"bbox": [1, -2.5, 3, 4]}),
        (LINK, ["https://a.b/c"], {"href": "https://a.b/c"}),
    ],
)
def test_values(schema: dict[str, Any], texts: list[str], value: Any) -> None:
    cwl: dict[str, Any] = {"x-cwl": {"type": "File"}} if schema is LINK else {}
    assert read(schema, *texts, **cwl) == value


@pytest.mark.parametrize(
    ("schema", "texts", "said"),
    [
        ({"type": "string"}, [" "], "needed"),
        ({"type": "integer"}, ["1.5"], "whole number"),
        ({"type": "integer"}, ["1_000"], "whole number"),
        ({"type": "number"}, ["nan"], "not a number"),
        ({"type": "number"}, ["1e999"], "not a number"),
        ({"type": "boolean"}, ["maybe"], "yes or no"),
        ({"type": "object"}, ['{"a": }'], "line 1, column 7"),
        ({"type": "object"}, ['{"a": NaN}'], "not JSON"),
        ({"type": "object"}, ['{"a": "\\ud800"}'], "half a character"),
        ({"type": "object"}, ["[" * 100_000], "nested"),
        (BBOX, ["1", "2", "", "4"], "East: is needed"),
        (BBOX, ["1", "2"], "East: is needed"),
    ],
)
def test_what_is_no_value_is_said(schema: dict[str, Any], texts: list[str], said: str) -> None:
    assert said in read(schema, *texts)


def test_what_is_optional_and_empty_is_left_out() -> None:
    for schema in ({"type": "string"}, {"type": "number", "default": 2}, BBOX, {"type": "array", "items": BBOX}):
        assert read(schema, "", minOccurs=0) is None


def test_boxes_shown_and_the_system_of_a_bounding_box() -> None:
    assert read(BBOX, "1", "2", "3", "4", crs="EPSG:4326") == {"bbox": [1, 2, 3, 4], "crs": "EPSG:4326"}
    (one,) = fields(description({"type": "array", "items": {"type": "string", "enum": ["r"]}}))
    assert one.boxes


def test_units_and_bounds_are_told() -> None:
    (one,) = fields(description({"type": "number", "x-ogc-unit": "m", "minimum": 0, "exclusiveMaximum": 10}))
    assert one.notes == ("in m", "at least 0", "less than 10")


VALUES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20),
    st.booleans(),
    st.integers(-(10**12), 10**12),
    st.floats(allow_nan=False, allow_infinity=False),
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5), max_size=3),
    st.sampled_from(["yes", "null", "1.0", "~", "@file", "a: b", "- a", "", "0x10", "2026-01-01", "https://a.b/c?d=e"]),
)


def test_a_ticked_box_allows_that_results_are_used_again() -> None:
    body, _ = request_of([], Filled({"reuse": ["yes"]}))
    assert body["reuse"] is True
    assert command("it", body).split() == ["broker", "run", "it", "--reuse"]
    assert "reuse" not in request_of([], Filled({}))[0]


@given(VALUES)
def test_the_command_line_says_the_same(value: Any) -> None:
    words = shlex.split(command("it", {"inputs": {"name": value}}))
    assert words[:3] == ["broker", "run", "it"]
    settings = words[4::2]
    found = joborder.settings_of(settings)
    assert json.dumps(found) == json.dumps({"name": value})  # which tells 1 from true
