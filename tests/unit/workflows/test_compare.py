"""compare.py accepts what was expected and notices each kind of deviation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PNG = b"\x89PNG\r\n\x1a\n"
ITEM = {
    "id": "lake",
    "bbox": [1.0, 2.0, 3.0, 4.0],
    "properties": {"water:fraction": 0.25, "datetime": None, "raster/b": [1]},
}
CATALOG = b'{"type": "Catalog"}'
EXPECTED: dict[str, Any] = {
    "files": {
        "catalog.json": {"type": "application/json", "sha256": hashlib.sha256(CATALOG).hexdigest()},
        "lake/lake.json": {"type": "application/geo+json"},
        "lake/water.tif": {"type": "image/tiff; application=geotiff"},
        "lake/quicklook.png": {"type": "image/png"},
    },
    "values": [
        {"file": "lake/lake.json", "pointer": "/id", "is": "lake"},
        {"file": "lake/lake.json", "pointer": "/bbox", "is": [1, 2, 3, 4], "tolerance": 1e-6},
        {"file": "lake/lake.json", "pointer": "/properties/water:fraction", "is": 0.2501, "tolerance": 0.001},
        {"file": "lake/lake.json", "pointer": "/properties/datetime", "is": None},
        {"file": "lake/lake.json", "pointer": "/properties/raster~1b/0", "is": 1},
        {"file": "lake/lake.json", "pointer": "/bbox", "length": 4},
    ],
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Results as they should be, a directory deeper than the one that is compared."""
    lake = tmp_path / "results" / "lake"
    lake.mkdir(parents=True)
    (tmp_path / "results" / "catalog.json").write_bytes(CATALOG)
    (lake / "lake.json").write_text(json.dumps(ITEM), encoding="utf-8")
    (lake / "water.tif").write_bytes(b"II*\0rest")
    (lake / "quicklook.png").write_bytes(PNG + b"rest")
    return tmp_path


def failures(compare: ModuleType, results: Path) -> list[str]:
    """What does not hold."""
    return [check.what for check in compare.compare(EXPECTED, results) if not check.ok]


def rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def test_equal_results_pass(compare: ModuleType, results: Path) -> None:
    assert failures(compare, results) == []
    assert failures(compare, results / "results") == []


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("catalog.json", CATALOG + b" ", "catalog.json"),
        ("lake/water.tif", b"", "lake/water.tif"),
        ("lake/water.tif", PNG, "lake/water.tif"),
        ("lake/quicklook.png", b"<svg/>", "lake/quicklook.png"),
        ("lake/notes.txt", b"hello", "other files"),
    ],
)
def test_a_changed_file_is_noticed(compare: ModuleType, results: Path, name: str, content: bytes, what: str) -> None:
    (results / "results" / name).write_bytes(content)
    assert failures(compare, results) == [what]


@pytest.mark.parametrize("name", ["catalog.json", "lake/water.tif", "lake/quicklook.png"])
def test_a_missing_file_is_noticed(compare: ModuleType, results: Path, name: str) -> None:
    (results / "results" / name).unlink()
    assert name in failures(compare, results)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        (lambda item: item.update(id="pond"), "/id"),
        (lambda item: item.update(bbox=[1, 2, 3, 4.1]), "/bbox"),
        (lambda item: item["properties"].update({"water:fraction": 0.2512}), "/properties/water:fraction"),
        (lambda item: item["properties"].update({"water:fraction": float("nan")}), "/properties/water:fraction"),
        (lambda item: item["properties"].update({"water:fraction": "0.25"}), "/properties/water:fraction"),
        (lambda item: item["properties"].pop("water:fraction"), "/properties/water:fraction"),
        (lambda item: item["properties"].update(datetime="2026-01-01T00:00:00Z"), "/properties/datetime"),
        (lambda item: item["properties"].update({"raster/b": [True]}), "/properties/raster~1b/0"),
        (lambda item: item["properties"].update({"raster/b": []}), "/properties/raster~1b/0"),
    ],
)
def test_a_changed_value_is_noticed(
    compare: ModuleType, results: Path, change: Callable[[dict[str, Any]], object], pointer: str
) -> None:
    rewrite(results / "results" / "lake" / "lake.json", change)
    assert failures(compare, results) == [f"lake.json {pointer}"]


def test_another_length_is_noticed(compare: ModuleType, results: Path) -> None:
    rewrite(results / "results" / "lake" / "lake.json", lambda item: item.update(bbox=[1, 2, 3, 4, 5]))
    assert failures(compare, results) == ["lake.json /bbox", "lake.json /bbox (length)"]


def test_unreadable_json_fails_and_does_not_raise(compare: ModuleType, results: Path) -> None:
    (results / "results" / "lake" / "lake.json").write_text("{", encoding="utf-8")
    assert len(failures(compare, results)) == len(EXPECTED["values"])


def test_exit_status_and_table(compare: ModuleType, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = results.parent / f"{results.name}-expected.json"
    expected.write_text(json.dumps(EXPECTED), encoding="utf-8")
    assert compare.main(expected, results) == 0
    assert "11 of 11 checks hold." in capsys.readouterr().out
    (results / "results" / "lake" / "water.tif").unlink()
    assert compare.main(expected, results) == 1
    assert "NO  lake/water.tif" in capsys.readouterr().out


def test_the_committed_expectation_is_usable(compare: ModuleType, water_bodies: Path) -> None:
    """Every value is looked up in a file of the list, and every listed type can be recognised."""
    expected = json.loads((water_bodies / "expected.json").read_text(encoding="utf-8"))
    assert {check["file"] for check in expected["values"]} <= expected["files"].keys()
    assert {wanted["type"].split(";")[0] for wanted in expected["files"].values()} <= compare.BEGINNINGS.keys()
    item = next(name for name, wanted in expected["files"].items() if wanted["type"] == "application/geo+json")
    hrefs = {check["is"] for check in expected["values"] if check["pointer"].endswith("/href")}
    assert {f"{Path(item).parent}/{Path(href).name}" for href in hrefs} | {"catalog.json", item} == set(
        expected["files"]
    )
