"""Edits of JSON text: what was not meant to change stays as it is, byte for byte."""

from __future__ import annotations

import difflib
import json

import pytest

from broker.results.jsonedit import with_link, with_member, with_value
from tests.peers.osc import RECORDS, real

LINK = {"rel": "child", "href": "../../products/ü/collection.json", "type": "application/json", "title": 'A "title" ü'}


def removed(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return [line[1:] for line in lines if line.startswith("-") and not line.startswith("---")]


@pytest.mark.parametrize("path", real())
def test_a_link_more_in_a_real_record(path: str) -> None:
    before = (RECORDS / path).read_bytes().decode()
    after = with_value(with_link(before, LINK), "osc:workflows", "water-bodies")
    expected = json.loads(before)
    expected["links"].append(LINK)
    expected.setdefault("osc:workflows", []).append("water-bodies")
    assert json.loads(after) == expected
    assert list(json.loads(after)) == [*json.loads(before), "osc:workflows"]
    # of what was there, the last link's and the last member's line end in a comma now, and nothing else changes
    gone = removed(before, after)
    assert len(gone) <= 2
    assert all(line.strip() in ("}", "]") or line.strip()[0] == '"' for line in gone)
    assert after.endswith("\n") == before.endswith("\n")
    assert with_value(with_link(after, LINK), "osc:workflows", "water-bodies") == after


@pytest.mark.parametrize(
    "before",
    [
        '{"links": []}\n',
        '{"a": 1, "links": [{"rel": "b", "href": "x"}]}',
        '{\n\t"links": [\n\t\t{\n\t\t\t"rel": "b",\n\t\t\t"href": "x"\n\t\t}\n\t]\n}',
        '{\r\n  "links": [\r\n    {"rel": "b", "href": "x"}\r\n  ]\r\n}\r\n',
        '{"title": "[{\\"links\\": [", "links": [{"rel": "b", "href": "}]"}], "z": {"links": []}}',
    ],
)
def test_every_style(before: str) -> None:
    found = with_link(before, LINK)
    expected = json.loads(before)
    expected["links"].append(LINK)
    assert json.loads(found) == expected
    ends = found.replace("\r\n", "")
    assert ("\r\n" in found, "\n" in ends) == ("\r\n" in before, "\n" in found and "\r\n" not in before)
    if "\t" in before:
        assert '\n\t\t{\n\t\t\t"rel": "child"' in found


def test_no_links_at_all_and_two_of_one_name() -> None:
    assert json.loads(with_link('{\n  "a": 1\n}', LINK)) == {"a": 1, "links": [LINK]}
    assert json.loads(with_value('{"w": ["x"], "a": 1, "w": ["y"]}', "w", "z"))["w"] == ["y", "z"]


def test_a_link_that_is_there_gets_its_title_and_no_second() -> None:
    before = with_link(
        '{\n  "links": [\n    {\n      "rel": "child",\n      "href": "./ü/../ü/x.json"\n    }\n  ]\n}', {**LINK}
    )
    again = with_link(before, {**LINK, "title": "New"})
    assert [one.get("title") for one in json.loads(again)["links"]] == [None, "New"]
    assert len(removed(before, again)) == 1
    untitled = with_link(before, {"rel": "child", "href": "ü/x.json", "title": "Now"})
    assert json.loads(untitled)["links"][0]["title"] == "Now"


def test_members() -> None:
    text = '{\n  "a": 1,\n  "b": {\n    "c": 2\n  }\n}\n'
    assert with_member(text, "a", 1) == text
    assert with_member(text, "a", 3) == text.replace("1", "3")
    assert with_member(text, "d", "x") == '{\n  "a": 1,\n  "b": {\n    "c": 2\n  },\n  "d": "x"\n}\n'


@pytest.mark.parametrize("text", ["[]", '"x"', "", "{}"])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises((ValueError, IndexError)):
        with_link(text, LINK)
