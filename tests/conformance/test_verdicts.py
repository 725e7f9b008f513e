"""The page of verdicts, made from the real records that the tests have."""

from __future__ import annotations

from broker.results.tree import Files
from tests.conformance.verdicts import DOCUMENT, document, verdicts
from tests.peers.osc import catalog

REAL = ("esa-world-cereal-extent-experiment", "polarwarp")


def test_the_page_says_of_each_experiment_why_it_is_refused() -> None:
    found = {one.name: one for one in verdicts(Files(catalog())) if one.name in REAL}
    assert set(found) == set(REAL)
    page = document(found.values(), "abc of today")
    committed = DOCUMENT.read_text()
    for name in REAL:
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0].strip()
        assert "**Refused.**" in section
        assert section in committed, "the page is older than what is said now: make catalog-verdicts"
    assert "0 of 2 can be run" in page


def test_all_experiments_of_the_catalog_have_a_verdict() -> None:
    listed = [line.removeprefix("## ") for line in DOCUMENT.read_text().splitlines() if line.startswith("## ")]
    assert len(listed) == 9
    assert set(REAL) <= set(listed)
