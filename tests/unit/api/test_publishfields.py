"""The form of a publication and its request are the same thing, said twice."""

from __future__ import annotations

from typing import Any

import pytest

from broker.api.publishfields import field_of, fields_of, names_of, request_of
from broker.errors import InputError

REQUEST: dict[str, Any] = {
    "title": "Lakes",
    "project": "fairsendd",
    "licence": "CC-BY-4.0",
    "doi": "declined",
    "themes": ["land", "oceans"],
    "variables": ["water-extent"],
    "keywords": ["lake", "water body"],
    "contacts": [
        {"name": "Ada", "orcid": "0000-0002-1825-0097", "roles": ["author", "processor"]},
        {"name": "Bob", "email": "bob@example.org"},
    ],
    "bbox": [10.5, -3.25, 11.0, 4.0],
    "interval": ["2026-01-01T00:00:00Z", None],
    "parameters": [{"name": "ndwi", "unit": "1"}],
    "experiment": {"doi": "requested"},
}


def test_there_and_back() -> None:
    assert request_of(fields_of(REQUEST)) == REQUEST
    assert request_of(fields_of({})) == {}
    assert request_of({}) == {}


def test_lists_have_room_for_more_and_drop_what_is_empty() -> None:
    fields = fields_of(REQUEST)
    assert [fields[f"themes.{n}"] for n in range(4)] == ["land", "oceans", "", ""]
    assert fields["contacts.2.name"] == ""
    changed = request_of(fields | {"themes.0": " ", "themes.3": "cryosphere", "contacts.2.name": "Eve"})
    assert changed["themes"] == ["oceans", "cryosphere"]
    assert changed["contacts"][2] == {"name": "Eve"}


@pytest.mark.parametrize(
    ("member", "field"),
    [
        ("licence", "licence"),
        ("themes", "themes.0"),
        ("contacts/1/orcid", "contacts.1.orcid"),
        ("contacts", "contacts.0.name"),
        ("interval", "start"),
        ("geometry", "bbox"),
        ("parameters", "others"),
        ("experiment/title", "others"),
        ("products/lakes/collection.json", ""),
        ("", ""),
    ],
)
def test_where_a_finding_is_shown(member: str, field: str) -> None:
    assert field_of(member, fields_of(REQUEST)) == field


@pytest.mark.parametrize("text", ["{", "[]", "1", "[" * 100_000])
def test_other_members_are_a_json_object(text: str) -> None:
    with pytest.raises(InputError, match="/others"):
        request_of({"others": text})


def test_boxes_are_found_also_where_others_are_not_ticked() -> None:
    assert names_of({"officer.12": "b", "officer.3": "a", "officer.x": "c", "do": "officers"}, "officer") == [
        "officer.3",
        "officer.12",
    ]


def test_a_box_of_words_stays_as_it_is() -> None:
    assert request_of({"bbox": "10, east"}) == {"bbox": [10.0, "east"]}
