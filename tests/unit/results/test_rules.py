"""The rules of the Open Science Catalog: nothing against the real records; each fault is found, by its rule."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice

import pytest

from broker.results.catalogplan import plan
from broker.results.osc import Finding
from broker.results.rules import check
from broker.results.strictrules import check_strictly, orcid
from broker.results.tree import Files, Tree
from tests.peers.osc import catalog, real
from tests.unit.results.faultyrecords import FAULTS, PROJECT, THEME, E, Fault, P, W, faulty, ours, whole
from tests.unit.results.mutants import mutants
from tests.unit.results.samples import a_request, published


def findings(tree: Tree, paths: Iterable[str] | None = None) -> list[Finding]:
    chosen = list(tree.paths() if paths is None else paths)
    return [*check(tree, chosen, whole=paths is None), *check_strictly(tree, chosen)]


def test_nothing_against_the_real_records() -> None:
    tree = Files(catalog())
    assert len(real()) == 14
    assert check(tree, tree.paths(), whole=True) == []


def test_what_is_told_of_real_records_beside() -> None:
    told = {(one.path.split("/")[1], one.rule) for one in check_strictly(Files(catalog()), real())}
    assert ("esa-world-cereal-extent-experiment", "empty") in told
    assert ("esa-world-cereal-extent-experiment", "product-related") in told
    assert ("polarwarp", "dangling") in told
    assert ("sentinel3-ampli-ice-sheet-elevation", "doi") in told


def test_nothing_at_all_against_what_we_publish() -> None:
    after, before = findings(Files(whole())), findings(Files(catalog()))
    assert {str(one) for one in after} <= {str(one) for one in before}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_fault_is_found(fault: Fault) -> None:
    touched = {*ours(), fault.path, "catalog.json"}
    before = {str(one) for one in findings(Files(whole()), touched)}
    new = [one for one in findings(Files(faulty(fault)), touched & faulty(fault).keys()) if str(one) not in before]
    assert (fault.found or fault.path, fault.rule, fault.official) in {
        (one.path, one.rule, one.official) for one in new
    }
    assert fault.official or not any(one.official for one in new)


@pytest.mark.parametrize("path", [W, E, P, PROJECT, THEME, "products/catalog.json"])
def test_catalogs_that_others_made_may_hold_anything(path: str) -> None:
    sound = whole()
    for mutant in islice(mutants(json.loads(sound[path]), (5,)), 0, None, 9):  # all: make catalog-validator
        tree = Files(sound | {path: json.dumps(mutant.document).encode()})
        check(tree, [path])
        check_strictly(tree, [path, W, E, P])
        plan(tree, a_request(), published())


def test_what_cannot_be_added_to_is_said() -> None:
    files = whole() | {THEME: b'{"links": [5]}', PROJECT: b"[]"}
    told = {(one.path, one.rule) for one in plan(Files(files), a_request(), published()).findings}
    assert {(THEME, "malformed"), (PROJECT, "malformed")} <= told


@pytest.mark.parametrize("bomb", [b"[" * 200_000, b'{"links":' * 50_000, b'{"title": "\\ud800", "links": []}'])
def test_documents_that_are_bombs_are_none(bomb: bytes) -> None:
    files = Files(whole() | {THEME: bomb})
    assert any(one.path == THEME for one in check(files, [THEME]))
    plan(files, a_request(), published())


def test_only_titles_of_what_was_touched_are_read() -> None:
    files = whole()
    read: list[str] = []

    class Counting(Files):
        def read(self, path: str) -> bytes | None:
            read.append(path)
            return super().read(path)

    check(Counting(files), ["products/catalog.json", "products/water-bodies-sierra/collection.json"])
    assert not [path for path in read if path.startswith("products/") and "sierra" not in path and path.count("/") == 2]


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("0000-0002-1825-0097", "https://orcid.org/0000-0002-1825-0097"),
        ("https://orcid.org/0000-0001-5109-3700", "https://orcid.org/0000-0001-5109-3700"),
        ("0000-0002-1694-233X", "https://orcid.org/0000-0002-1694-233X"),
        ("0000-0002-1825-0098", None),
        ("0000-0002-1825-009", None),
        ("https://example.org/0000-0002-1825-0097", None),
    ],
)
def test_orcid(text: str, known: str | None) -> None:
    assert orcid(text) == known
