"""The bundle for the people who make collections: complete, or it says what is missing and what may stand there."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import pystac
import pytest

from broker.results.collection import MEMBERS, bundle, document
from broker.results.target import Finding

REQUEST: dict[str, Any] = {
    "title": "Water in Patagonia",
    "description": "Where there is open water.",
    "licence": "CC-BY-4.0",
    "project": "fairsendd",
    "project_description": "About fair data.",
    "project_website": "https://project.example",
    "initiative": "earthcode",
    "contract_number": "4000000000/26/I-EF",
    "themes": ["land"],
    "variables": ["surface-water"],
    "missions": ["sentinel-2"],
    "parameters": [{"name": "water_fraction", "unit": "1"}],
    "thumbnail": {"href": "./thumbnail.png", "type": "image/png", "size": 10_000},
}
KNOWN = {"licences": ["CC-BY-4.0", "MIT"], "themes": ["land", "oceans"], "projects": {"fairsendd"}}
ITEMS = [
    {
        "id": name,
        "bbox": box,
        "properties": {"start_datetime": f"20{year}-01-01T00:00:00Z", "end_datetime": f"20{year}-12-31T00:00:00Z"},
    }
    for name, box, year in (("a", [10, 45, 11, 46], 25), ("b", [9, 44, 10, 45], 24))
]
MANDATORY = (  # reg-api's statistics, codes 32 to 46
    "title", "description", "extent", "license", "processing:datetime", "osc:project", "osc:project_description",
    "osc:project_website", "osc:initiative", "osc:contract-number", "themes", "osc:variables", "cf:parameter",
    "osc:missions",
)  # fmt: skip


def made(**changes: Any) -> tuple[dict[str, Any], list[Finding]]:
    return document("water", REQUEST | changes, ITEMS, "2026-11-22T10:00:00Z", KNOWN)


def test_a_complete_request_makes_a_complete_collection() -> None:
    full, findings = made(keywords=["water"], doi="10.5281/zenodo.1")
    assert findings == []
    assert all(full[member] for member in MANDATORY)
    assert full["assets"]["thumbnail"]["roles"] == ["thumbnail"]
    assert full["extent"]["spatial"]["bbox"] == [[9, 44, 11, 46]]
    assert full["extent"]["temporal"]["interval"] == [["2024-01-01T00:00:00Z", "2025-12-31T00:00:00Z"]]
    assert full["sci:doi"] == "10.5281/zenodo.1"
    assert pystac.Collection.from_dict(full).id == "water"


@pytest.mark.parametrize("member", sorted(REQUEST))
def test_each_member_that_is_missing_is_named(member: str) -> None:
    request = {name: value for name, value in REQUEST.items() if name != member}
    _, findings = document("water", request, ITEMS, "2026-11-22T10:00:00Z", KNOWN)
    assert [(finding.field, finding.level) for finding in findings] == [(member, "error")]


@pytest.mark.parametrize(
    ("changes", "field", "allowed"),
    [
        ({"licence": "CC-BY-4"}, "licence", "CC-BY-4.0"),
        ({"themes": ["lands"]}, "themes", "land"),
        ({"initiative": "esa"}, "initiative", "apex"),
        ({"project": "unknown"}, "project", "fairsendd"),
        ({"contract_no": "1"}, "contract_no", "contract_number"),
        ({"project_website": "project.example"}, "project_website", "https://…"),
        ({"thumbnail": {"href": "a.tif", "type": "image/tiff"}}, "thumbnail", "image/png"),
        ({"extent": {"interval": ["2026"]}}, "extent", None),
        ({"thumbnail": {"href": "a.png", "size": 6_000_000}}, "thumbnail", None),
    ],
)
def test_what_is_not_known_is_named_with_what_may_stand_there(changes: Any, field: str, allowed: str | None) -> None:
    _, findings = made(**changes)
    assert [finding.field for finding in findings] == [field]
    assert allowed is None or allowed in findings[0].allowed
    assert "unknown member" not in findings[0].message
    assert set(REQUEST) <= set(MEMBERS)


def test_an_extent_that_nobody_knows_is_not_made_up() -> None:
    full, findings = document("water", REQUEST, [], "2026-11-22T10:00:00Z", KNOWN)
    assert [finding.field for finding in findings] == ["extent", "extent"]
    assert full["extent"] == {"spatial": {"bbox": []}, "temporal": {"interval": []}}


def test_the_bundle_has_collection_items_and_letter() -> None:
    full, _ = made()
    data = bundle(full, ITEMS, 2_500_000_000, "officer@esa.example")
    assert data == bundle(full, ITEMS, 2_500_000_000, "officer@esa.example")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert sorted(archive.namelist()) == ["LETTER.txt", "collection.json", "items/a.json", "items/b.json"]
        assert json.loads(archive.read("collection.json")) == full
        letter = archive.read("LETTER.txt").decode()
        for link in full["links"]:
            assert link["href"].removeprefix("./") in archive.namelist()
    for said in ("earth-code@esa.int", "officer@esa.example", "2.500 GB in 2 items", "4000000000/26/I-EF", "CC-BY-4.0"):
        assert said in letter
