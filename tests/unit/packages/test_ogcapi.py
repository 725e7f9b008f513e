"""Processes of other servers as packages: recognised by description and address, mirrored, with CWL types."""

from __future__ import annotations

import json
from typing import Any

import pytest

from broker.errors import InputError, PackageError
from broker.packages import ogcapi
from broker.packages.appackage import deployment
from broker.packages.bundle import Bundle
from broker.packages.deployment import Deployment
from broker.packages.describe import describe
from broker.packages.inputs import job_order
from broker.runner import loading

URL = "https://there/ogc/processes/buffer"
SCENE = {"schema": {"type": "string", "contentMediaType": "image/tiff"}, "title": "Scene"}
BOX = {"schema": {"allOf": [{"format": "ogc-bbox"}, {"$ref": "https://schemas.opengis.net/bbox.yaml"}]}}
DESCRIPTION: dict[str, Any] = {
    "id": "buffer",
    "title": {"en": "Buffer", "fr": "Tampon"},
    "description": "Widens.",
    "version": "2.1.0",
    "jobControlOptions": ["async-execute"],
    "outputTransmission": ["value"],
    "inputs": {
        "distance": {"schema": {"type": "number", "minimum": 0, "default": 1.5}, "minOccurs": 0},
        "unit": {"schema": {"type": "string", "enum": ["m", "km"]}, "maxOccurs": "unbounded"},
        "scene": SCENE,
        "box": {**BOX, "minOccurs": 0},
        "more": {"schema": {"oneOf": [{"type": "string"}, {"type": "object"}]}, "minOccurs": 0},
        "shape": {"schema": {"type": "object", "contentMediaType": "application/geo+json"}, "minOccurs": 0},
        "dir": {"schema": {"oneOf": [{}, {}]}, "x-cwl": {"type": "Directory"}, "minOccurs": 0},
    },
    "outputs": {"area": {"schema": {"type": "number"}}},
    "links": [],
}


def read(url: str) -> bytes:
    if url.startswith(URL):
        return json.dumps(DESCRIPTION).encode()
    raise FileNotFoundError(2, "no such thing", url)


def deployed(href: str = URL, **described: Any) -> Deployment:
    whole = {"executionUnit": {"href": href}, **({"processDescription": described} if described else {})}
    return deployment(json.dumps(whole).encode(), "application/ogcapppkg+json", process=None, read=read)


def inspected() -> Any:
    return loading.inspect(deployed().bundle, None)  # type: ignore[arg-type]  # nothing is written for it


def test_a_link_to_a_description_is_a_process_by_reference() -> None:
    found = deployed(URL + "?f=json")
    assert (found.bundle.kind, found.kind, found.bundle.entry) == ("ogcapi", "ogcapi", URL)
    assert found.process_id == "buffer"
    assert found.source["href"] == URL
    assert Bundle.from_json(found.bundle.to_json()) == found.bundle
    assert deployed(id="mine").process_id == "mine"


def test_the_description_is_mirrored() -> None:
    found = deployed()
    shown = describe(inspected(), process_id=found.process_id, overrides=found.description_overrides)
    assert (shown["title"], shown["version"], shown["description"]) == ("Buffer", "2.1.0", "Widens.")
    for name, one in DESCRIPTION["inputs"].items():
        assert shown["inputs"][name]["schema"] == one["schema"]
        assert shown["inputs"][name]["minOccurs"] == one.get("minOccurs", 1)
        assert shown["inputs"][name]["maxOccurs"] == one.get("maxOccurs", 1)
    assert shown["outputs"]["area"]["schema"] == {"type": "number"}


def test_it_needs_the_server_that_has_it() -> None:
    needs = inspected().needs
    assert needs.kind == "ogcapi"
    assert needs.features == {"https://there/ogc"}


def test_inputs_are_checked_here() -> None:
    order = job_order(
        inspected(),
        {"unit": "m", "scene": {"href": "https://data/s.tif"}, "box": {"bbox": [1, 2, 3, 4]}, "more": {"a": 1},
         "shape": {"type": "Point"}, "dir": {"href": "https://data/catalog.json"}},
        uploads=lambda href: None,
    )  # fmt: skip
    assert order.job_order["unit"] == ["m"]
    assert order.job_order["scene"]["class"] == "File"
    assert order.job_order["dir"]["class"] == "Directory"
    assert order.job_order["box"] == {"bbox": [1, 2, 3, 4]}
    assert order.job_order["shape"] == {"type": "Point"}
    assert "distance" not in order.job_order  # the server has its own default
    with pytest.raises(InputError) as wrong:
        job_order(inspected(), {"unit": "cm", "scene": 5, "distance": -1, "typo": 1}, uploads=lambda href: None)
    assert {one.pointer for one in wrong.value.problems} == {
        "/inputs/unit", "/inputs/scene", "/inputs/distance", "/inputs/typo",
    }  # fmt: skip


def test_inputs_may_be_a_list() -> None:
    """As the drafts of Part 1 had it."""
    listed = {**DESCRIPTION, "inputs": [{"id": name, **one} for name, one in DESCRIPTION["inputs"].items()]}
    entry, documents = ogcapi.documents(json.dumps(listed), URL) or ("", {})
    assert {**ogcapi.interface(ogcapi.description(documents, entry), "inputs")} == ogcapi.interface(
        DESCRIPTION, "inputs"
    )


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (json.dumps(DESCRIPTION), "https://there/buffer.json"),
        (json.dumps({"id": "x"}), URL),
        (json.dumps({**DESCRIPTION, "cwlVersion": "v1.2"}), URL),
        (json.dumps({**DESCRIPTION, "id": 5}), URL),
        ("[" * 100_000, URL),
        ("cwlVersion: v1.2", URL),
        (json.dumps(DESCRIPTION), "processes/buffer"),
    ],
    ids=["address", "no description", "cwl", "id", "deep", "yaml", "no address"],
)
def test_everything_else_is_read_as_before(text: str, url: str) -> None:
    assert ogcapi.documents(text, url) is None


def test_a_parameter_without_a_name_is_refused() -> None:
    entry, documents = ogcapi.documents(json.dumps({**DESCRIPTION, "outputs": {"": {"schema": {}}}}), URL) or ("", {})
    with pytest.raises(PackageError, match="no name"):
        ogcapi.inspection(documents, entry)
