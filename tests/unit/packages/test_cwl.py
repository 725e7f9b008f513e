"""The parser: what ruamel.yaml reads, ten times faster, with lines and within limits."""

from __future__ import annotations

import io
import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from broker.errors import BrokerError, LimitError, PackageError
from broker.packages.cwl import MAX_DOCUMENT, Inspection, parse
from tests.unit.packages.documents import inspected, tool

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\ufeff\ufffe\uffff")),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_reads_json_as_json_does(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False), json.dumps(value, indent=2)):
        assert parse(text, "doc") == value


@pytest.mark.parametrize(
    "text",
    [
        "a: yes\nb: no\nc: on\nd: true\ne: null\nf: ~\ng:\n",
        "a: 010\nb: 0o17\nc: 0x1F\nd: 1_000\ne: 1e-3\nf: .5\ng: 1.\nh: -1.5e-3\n",
        "i: +3\nj: 12:30\nk: 2020-01-01\nl: .inf\n",
        "a: |\n  text\n  more\nb: >\n  folded\n  text\nc: 'it''s'\nd: \"\\t\\u00e9\"\n",
        "a: &x {b: 1, c: [1, 2]}\nd: *x\ne:\n  <<: *x\n  b: 2\n",
        "a: [int?, 'File[]?', 'x:y', http://host/a]\nb: {c: string?, d: $(inputs.x)}\n",
        "- - a\n  - b\n- c: d\n  e: f\n",
        "--- first\n--- second\n",
    ],
)
def test_reads_yaml_as_ruamel_does(text: str) -> None:
    assert json.dumps(parse(text, "doc")) == json.dumps(next(YAML(typ="rt").load_all(io.StringIO(text))), default=str)


def test_whole_numbers_are_written_as_such() -> None:
    """An exponent does not bring `.0` to a command line, and a `double` of many digits keeps them."""
    assert json.dumps(parse("[1.23e5, 1e3, 1.0, -1e42, 9223372036854775807]", "doc")) == (
        "[123000, 1000, 1.0, -1e+42, 9223372036854775807]"
    )
    assert json.dumps(parse(f"1{'0' * 42}", "doc")) == f"1{'0' * 42}"


def test_knows_where_each_entry_is() -> None:
    document = parse("a: 1\nb:\n  - x\n  - {c: d}\n", "doc")
    assert document.lc.data["b"] == [1, 0, 2, 2]
    assert document["b"].lc.data[1] == [3, 4]
    assert document["b"][1].lc.data["c"] == [3, 5, 3, 8]
    assert document["b"][1].lc.filename == "doc"


def test_keys_are_names() -> None:
    assert parse("{1: a, true: b, null: c}", "doc") == {"1": "a", "true": "b", "null": "c"}


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: b: c\n", 1, 5, "colon"),
        ("a:\n\tb: c\n", 2, 1, "tab"),
        ("a: [1, 2\n", 2, 1, "expected"),
        ("a: [null, File[]]\n", 1, 15, "quotes"),
        ("a: 1\nb: 2\na: 3\n", 3, 1, "twice"),
        ("a: !!python/object/apply:os.system [x]\n", 1, 4, "tag"),
        ("a: !custom x\n", 1, 4, "tag"),
        ("a: !!int x\n", 1, 4, "not a int"),
        ("a: &a [*a]\n", 1, 8, "inside"),
        ("a: *b\n", 1, 4, "anchor"),
        ("a:\n  [b]: c\n", 2, 3, "key"),
        ("[" * 200_000, 1, 65, "nested"),
        ('{"a":' * 200_000, 1, 321, "nested"),
        ("- " * 100_000, 1, 129, "nested"),
        ("a: \x00", None, None, "characters"),
        ('a: "\\0"', 1, 4, "NUL"),
        ("a: \ud800", None, None, ""),
        ('a: "\\ud800"', 1, 7, "escape"),
    ],
)
def test_says_where_the_text_is_wrong(text: str, line: int | None, column: int | None, words: str) -> None:
    start = time.process_time()
    with pytest.raises(PackageError) as caught:
        parse(text, "doc.cwl")
    assert time.process_time() - start < 1
    assert (caught.value.file, caught.value.line, caught.value.column) == ("doc.cwl", line, column)
    assert words in str(caught.value)


def bomb(levels: int) -> str:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    for number in range(levels):
        one, next_one = chr(97 + number), chr(98 + number)
        lines.append(f"{next_one}: &{next_one} [{', '.join(['*' + one] * 10)}]")
    return "\n".join(lines)


@pytest.mark.parametrize("text", [bomb(9), "a: " + "x" * 10_000_000, "[" + "1," * 300_000 + "1]"])
def test_limits(text: str) -> None:
    start = time.process_time()
    with pytest.raises(LimitError):
        parse(text, "doc")
    assert time.process_time() - start < 1


def test_a_document_of_the_largest_size_is_read() -> None:
    assert len(parse("a: " + "x" * (MAX_DOCUMENT - 3), "doc")["a"]) == MAX_DOCUMENT - 3


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(BrokerError):
        parse(text, "doc")


def test_an_inspection_is_json_that_others_read() -> None:
    text = tool("{a: {type: double, default: .inf}, b: {type: long, default: 99999999999999999999999}}")
    json.dumps(inspected(text).to_json(), allow_nan=False)
    assert [one["default"] for one in inspected(text).process["inputs"]] == [None, 1e23]


def test_an_inspection_survives_json() -> None:
    one = inspected(tool("{a: string}", "{o: stdout}"))
    assert Inspection.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_an_alias_is_a_copy() -> None:
    """Loading writes an id into each step; two steps that are one object would get one id."""
    document = parse("a: &x {b: {c: [1]}}\nd: *x\n", "doc")
    assert document["d"] == document["a"]
    assert document["d"].lc.data == document["a"].lc.data
    document["d"]["b"]["c"].append(2)
    assert document["a"]["b"]["c"] == [1]
