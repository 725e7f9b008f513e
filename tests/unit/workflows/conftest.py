"""Where the example packages are, and cwltool with its schema read once."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from cwltool.context import LoadingContext
from cwltool.load_tool import fetch_document, make_tool, resolve_and_validate_document
from cwltool.workflow import default_make_tool

WORKFLOWS = Path(__file__).parents[3] / "workflows"


@pytest.fixture(scope="session")
def echo() -> Path:
    """The directory of the echo package."""
    return WORKFLOWS / "echo"


@pytest.fixture(scope="session")
def water_bodies() -> Path:
    """The directory of the water-bodies package."""
    return WORKFLOWS / "water-bodies"


@pytest.fixture(scope="session")
def load() -> Callable[..., Any]:
    """Loads a process of a package as cwltool does: validates it, checks that the types along its links agree."""

    def load_process(path: Path, process: str = "") -> Any:
        context = LoadingContext(
            {"construct_tool_object": default_make_tool, "skip_schemas": True, "disable_js_validation": True}
        )
        context, document, uri = fetch_document(f"{path.as_uri()}#{process}".rstrip("#"), context)
        context, uri = resolve_and_validate_document(context, document, uri)
        return make_tool(uri, context)

    return load_process


@pytest.fixture(scope="session")
def compare(water_bodies: Path) -> Iterator[ModuleType]:
    """The comparison script, which lies outside of any Python package."""
    name = "water_bodies_compare"
    spec = importlib.util.spec_from_file_location(name, water_bodies / "compare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[name]
