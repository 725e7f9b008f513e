"""axe-core, the rules of accessibility of Deque, in pages of a real browser; npm brings it (`make .software/axe`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

SCRIPT = Path(__file__).parents[2] / ".software" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
RUN = "async () => (await axe.run(document, {resultTypes: ['violations']})).violations"


@cache
def _source() -> str:
    if not SCRIPT.exists():
        pytest.skip("needs axe-core: make .software/axe")
    return SCRIPT.read_text()


def violations(page: Page) -> list[str]:
    """What all rules but the experimental ones say against the page as it is shown now: one line for each element."""
    page.evaluate(_source())  # by the debugger, which the page's own policy does not bind
    found: list[dict[str, Any]] = page.evaluate(RUN)
    return [
        f"{rule['id']}: {node['html'][:200]} {' '.join(node['failureSummary'].split())[:300]}"
        for rule in found
        for node in rule["nodes"]
    ]
