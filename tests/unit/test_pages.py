"""What pages make of amounts, of logs, of links in catalogs and of inputs; and what the sheet of a failure says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.api import catalogs
from broker.api.given import given
from broker.jobs.model import Fault, Reason
from broker.store.files import KeptFile
from broker.web import faults
from broker.web.amounts import lasting, logtext, size


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (185, "3 min 5 s"),
        (3600, "1 h"),
        (7800, "2 h 10 min"),
        (90000, "1 d 1 h"),
        (100 * 86400, "100 d"),
    ],
)
def test_spans(seconds: float, words: str) -> None:
    assert lasting(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, ""),
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1444, "1.4 kB"),
        (999_600, "1.0 MB"),
        (20e6, "20 MB"),
        (5e18, "5000 PB"),
    ],
)
def test_sizes(count: int | None, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mred\x1b[0m", "ared"),
        ("\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c", "bc"),
        ("1\r\n2\r3\tx", "1\n2\n3\tx"),
        ("nul\0 bell\a c1\x9b31m turn\u202eed", "nul bell c131m turned"),
        ("<b>é 水</b>", "<b>é 水</b>"),
    ],
)
def test_logs_steer_nothing(text: str, shown: str) -> None:
    assert logtext(text) == shown


@pytest.mark.parametrize(
    ("href", "path"),
    [
        ("item.json", "out/a/item.json"),
        ("./item%20one.json", "out/a/item one.json"),
        ("../b/item.json#x", "out/b/item.json"),
        ("../../../etc/passwd", None),
        ("../..", None),
        ("/etc/passwd", None),
        ("//host/x", None),
        ("https://host/x", None),
        ("javascript:alert(1)", None),
        ("http://[", None),
        ("", None),
        (7, None),
        ("x" * 3000, None),
    ],
)
def test_links_of_a_catalog_stay_among_its_files(href: object, path: str | None) -> None:
    found = catalogs.beside("out/a/catalog.json", href)
    assert found == path or (path is None and found in (".", ".."))


@pytest.mark.parametrize(
    "href", ["javascript:alert(1)", "data:text/html,x", "ftp://x/y", "https:", "http://[", None, 7]
)
def test_a_browser_is_sent_to_no_odd_places(href: object) -> None:
    assert catalogs.elsewhere(href) is None


def test_a_catalog_that_goes_in_circles_ends() -> None:
    def document(*links: str) -> dict[str, Any]:
        return {"type": "Catalog", "links": [{"rel": "child", "href": href} for href in links]}

    found = {"catalog.json": document("a.json", "catalog.json"), "a.json": document("catalog.json", "b.json")}
    found["b.json"] = {"type": "Feature", "id": 7, "properties": ["no object"], "assets": ["none"], "geometry": None}
    files = {path: KeptFile(path, 1, path, True, 10, None, None) for path in found}
    read: list[str] = []

    def content(file: KeptFile) -> bytes:
        read.append(file.path)
        return json.dumps(found[file.path]).encode()

    catalog = catalogs.read("catalog.json", files, content)
    assert [item.id for item in catalog.items] == ["7"]
    assert sorted(read) == ["a.json", "b.json", "catalog.json"]


def test_a_large_document_is_not_read() -> None:
    files = {"catalog.json": KeptFile("catalog.json", 1, "", True, catalogs.MOST_BYTES + 1, None, None)}

    def content(file: KeptFile) -> bytes:
        raise AssertionError("it is read")

    assert catalogs.read("catalog.json", files, content).broken == ["catalog.json"]


def test_long_inputs_are_cut() -> None:
    deep: Any = 1
    for _ in range(50):
        deep = {"x": deep}
    wide = {str(number): "y" * 5000 for number in range(500)}
    scene = {"class": "Directory", "listing": [{"class": "File", "basename": "a", "contents": "z" * 10_000}]}
    shown = given({"text": "x" * 5000, "deep": deep, "wide": wide, "scene": scene, "link": {"href": "https://a.b/c"}})
    assert all(len(one.text) < 1100 for one in shown)
    assert "(5000 characters)" in shown[0].text
    assert "(10000 characters)" in shown[3].text
    assert shown[4].href == shown[4].text == "https://a.b/c"
    assert given({"script": {"href": "javascript:alert(1)"}})[0].href is None
    assert given(None) == []


def test_every_fault_and_every_reason_has_its_words() -> None:
    assert set(faults.WHOSE) == set(faults.BY_FAULT) == set(Fault)
    assert set(faults.BY_REASON) <= set(Reason)
    assert faults.what_to_do("platform", "platform-refused").startswith("Run it again")
    assert faults.what_to_do("nobody", "nothing")
