"""What is installed is what was locked: each file by its hash, from a registry, none from elsewhere."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
OLDEST = {  # before these, what an advisory says was true (reference/ecosystem.md, C2)
    "celery": (5, 6),  # passwords of queue servers in logs
    "requests": (2, 32),  # credentials of .netrc to other hosts
    "urllib3": (2, 5),  # redirects that were not followed were
    "jinja2": (3, 1, 6),  # sandbox
    "h11": (0, 16),  # smuggling by chunks
}


@pytest.fixture(scope="module")
def packages() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    return found


def test_each_file_is_locked_by_its_hash(packages: list[dict[str, Any]]) -> None:
    assert len(packages) > 100
    for one in packages:
        if one["source"] == {"editable": "."}:
            continue
        assert set(one["source"]) == {"registry"}, f"{one['name']} does not come from a registry"
        files = [*one.get("wheels", ()), *([one["sdist"]] if "sdist" in one else [])]
        assert files, one["name"]
        for file in files:
            assert file["hash"].startswith("sha256:"), file
            assert file["url"].startswith("https://"), file


def test_no_version_with_a_known_hole(packages: list[dict[str, Any]]) -> None:
    for one in packages:
        if one["name"] in OLDEST:
            version = tuple(int(part) for part in one["version"].split(".")[:3])
            assert version >= OLDEST[one["name"]], one["name"]


def test_uv_itself_is_locked() -> None:
    """deploy/get_uv.py fetches it before there is any environment: by the hash of the lock."""
    text = (ROOT / "deploy" / "get_uv.py").read_text()
    assert "sha256" in text
