"""Results as files: documents with relative links, each asset once, and nothing that signs a link."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapters.openeo import results, status
from adapters.openeo.results import Layout
from broker.errors import PlatformRefused
from broker.jobs.observation import LONGEST_LOOK, State

SIGNED = "https://store.example/j-1/{}?X-Amz-Signature=secret&expires=1"


def asset(name: str, **more: Any) -> dict[str, Any]:
    return {"href": SIGNED.format(name), "type": "image/tiff; application=geotiff", **more}


def item(name: str, **assets: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "stac_version": "1.0.0", "id": name, "assets": assets, "links": [], "properties": {}}


DERIVED = {"rel": "derived_from", "href": "https://catalogue.example/S2A?token=secret"}
COLLECTION: dict[str, Any] = {
    "type": "Collection",
    "stac_version": "1.0.0",
    "id": "j-1",
    "links": [DERIVED, {"rel": "canonical", "href": SIGNED.format("results")}, {"rel": "item", "href": "x"}],
    "assets": {"a.tif": asset("a.tif", **{"file:size": 7, "file:checksum": "1220" + "ab" * 32})},
}


def documents(layout: Layout) -> dict[str, Any]:
    return {part.path: json.loads(part.text) for part in layout.parts if part.text is not None}


def test_a_collection_with_items_is_a_catalog_of_files() -> None:
    layout = Layout(COLLECTION, [item("one", **{"a.tif": asset("a.tif")}), item("two", b=asset("b.tif"))])
    found = documents(layout)
    assert {part.path for part in layout.parts} == {
        "stac/catalog.json", "stac/collection.json", "stac/one.json", "stac/two.json", "stac/job-results.json",
        "stac/a.tif", "stac/b.tif",
    }  # fmt: skip
    assert found["stac/catalog.json"]["links"][1] == {
        "rel": "child", "href": "./collection.json", "type": "application/json",
    }  # fmt: skip
    items = [one["href"] for one in found["stac/collection.json"]["links"] if one["rel"] == "item"]
    assert items == ["./one.json", "./two.json"]
    assert found["stac/two.json"]["assets"]["b"]["href"] == "./b.tif"
    assert found["stac/two.json"]["collection"] == "j-1"
    assert layout.derived == ["https://catalogue.example/S2A"]
    assert "secret" not in json.dumps(found)
    outputs = layout.outputs()
    assert [one["location"] for one in outputs["assets"]] == ["stac/a.tif", "stac/b.tif"]
    assert outputs["stac"]["class"] == "Directory"


def test_what_is_known_of_an_asset_is_checked_when_it_comes() -> None:
    part = Layout(COLLECTION).named("stac/a.tif")
    assert (part.size, part.sha256) == (7, "ab" * 32)
    assert part.href == SIGNED.format("a.tif")


def test_outputs_of_a_tool_are_found_by_type_and_pattern() -> None:
    layout = Layout(COLLECTION, [item("two", b=asset("b.tif"), t=asset("t.csv"))])
    wanted = {"type": "File", "glob": "b*", "optional": False}
    found = layout.outputs(
        {"all": {"type": "Directory"}, "b": wanted, "tifs": wanted | {"type": "File[]", "glob": "*.tif"}}
    )
    assert found["b"]["location"] == "stac/b.tif"
    assert [one["basename"] for one in found["tifs"]] == ["b.tif", "a.tif"]
    assert found["all"]["location"] == "stac"
    assert layout.outputs({"x": wanted | {"glob": "x", "optional": True}}) == {"x": None}
    with pytest.raises(PlatformRefused, match=r"x is x, and the results have b\.tif, t\.csv, a\.tif"):
        layout.outputs({"x": wanted | {"glob": "x"}})


def test_results_of_api_1_0_are_one_item() -> None:
    layout = Layout(item("j-1", r=asset("r.tif")))
    found = documents(layout)
    assert found["stac/catalog.json"]["links"][1]["href"] == "./j-1.json"
    assert found["stac/j-1.json"]["assets"]["r"]["href"] == "./r.tif"


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["a.tif", "b/a.tif"], ["a.tif", "2_a.tif"]),
        (["../../etc/passwd.txt"], ["passwd.txt"]),
        (["catalog.json"], ["2_catalog.json"]),
        ([".hidden.tif"], ["hidden.tif"]),
        (["ü b.tif"], ["ü_b.tif"]),
        (["result"], ["f0.tif"]),
    ],
)
def test_names_stay_in_the_directory_and_apart(keys: list[str], names: list[str]) -> None:
    assets = {key: asset(f"f{number}.tif") for number, key in enumerate(keys)}
    layout = Layout(COLLECTION | {"assets": assets})
    assert [part.path for part in layout.parts if part.href] == [f"stac/{name}" for name in names]


def test_too_many_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "MOST", 2)
    assets = {f"{number}.tif": asset(f"{number}.tif") for number in range(3)}
    with pytest.raises(PlatformRefused, match="more than 2 files"):
        Layout(COLLECTION | {"assets": assets})


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(PlatformRefused, match="no file"):
        Layout(COLLECTION).named("stac/other.tif")


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ("created", State.QUEUED),
        ("queued", State.QUEUED),
        ("running", State.RUNNING),
        ("finished", State.SUCCEEDED),
        ("error", State.FAILED),
        ("canceled", State.CANCELLED),
        ("something new", State.QUEUED),
    ],
)
def test_states(told: str, state: State) -> None:
    assert status.state({"status": told}) is state


def test_a_job_that_keeps_others_from_being_made_is_cancelled() -> None:
    assert status.state({"status": "created", "description": status.DISMISSED}) is State.CANCELLED


@pytest.mark.parametrize(
    ("duration", "seconds"), [("PT1M30S", 90.0), ("P1W", 604800.0), ("P2DT1H", 176400.0), ("P", None), (None, None)]
)
def test_durations(duration: Any, seconds: float | None) -> None:
    assert status.seconds(duration) == seconds


def test_looks_become_rarer() -> None:
    job = {"id": "j", "status": "running", "created": "2026-01-01T00:00:00Z"}
    began = status.moment(job["created"]) or 0.0
    looks = [status.observation("n", job, now=began + age, began=began).next_look for age in (0, 100, 10_000)]
    assert looks == [1.0, LONGEST_LOOK, LONGEST_LOOK]


def test_start_and_end_without_a_start() -> None:
    """API 1.2 tells when a job ended and how long it took."""
    job = {"status": "finished", "updated": "2026-01-01T00:10:00Z", "usage": {"duration": {"value": 60}}}
    ended = status.moment(job["updated"]) or 0.0
    assert status.times(job, ended - 600) == (ended - 60, ended)
    assert status.times(job | {"started": "2026-01-01T00:05:00Z"}, None) == (ended - 300, ended)
