"""The STAC items among a job's outputs, whatever else lies there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from broker.runner.stacids import MOST_BYTES, of_outputs

ITEM = {"type": "Feature", "stac_version": "1.0.0", "id": "i1"}


def tree(root: Path, files: dict[str, Any]) -> dict[str, Any]:
    """The files below `out`, and the output object with that directory."""
    listing = []
    for name, content in files.items():
        path = root / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        listing.append({"class": "File", "basename": path.name, "location": f"out/{name}"})
    return {"catalog": {"class": "Directory", "location": "out", "listing": listing}, "n": 1}


def test_items_and_their_assets(tmp_path: Path) -> None:
    assets = {
        "a": {"href": "./a b.tif"},
        "b": {"href": "sub/c%20d.tif"},
        "c": {"href": "https://x.example/e.tif"},
        "d": {"href": "../../../etc/passwd"},
        "e": {"href": "/etc/passwd"},
        "f": {"href": 3},
        "g": None,
    }
    outputs = tree(tmp_path, {"catalog.json": {"type": "Catalog"}, "i/i.json": {**ITEM, "assets": assets}})
    assert of_outputs(outputs, tmp_path) == {"out/i/i.json": "i1", "out/i/a b.tif": "i1", "out/i/sub/c d.tif": "i1"}


def test_what_is_no_item(tmp_path: Path) -> None:
    outputs = tree(
        tmp_path,
        {
            "a.json": "{",
            "b.json": "[" * 100_000,
            "c.json": {**ITEM, "id": 5},
            "d.json": {**ITEM, "id": "x" * 1000},
            "e.json": {**ITEM, "more": "x" * MOST_BYTES},
            "f.json": {**ITEM, "assets": []},
            "g.txt": ITEM,
        },
    )
    outputs["catalog"]["listing"].append({"class": "File", "location": "out/gone\0.json"})
    outputs["catalog"]["listing"].append({"class": "File", "location": "../secret.json"})
    (tmp_path / "out" / "link.json").symlink_to(tmp_path / "out" / "f.json")
    outputs["catalog"]["listing"].append({"class": "File", "location": "out/link.json"})
    assert of_outputs(outputs, tmp_path) == {"out/f.json": "i1"}
    alone = {"file": {"class": "File", "location": "out/f.json"}}
    assert of_outputs(alone, tmp_path) == {}
