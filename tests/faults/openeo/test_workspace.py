"""Input files in the account's workspace: sent before the job is made, read by its process, deleted with it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import rasterio
from rasterio.io import MemoryFile

from adapters.openeo.platform import OpenEoPlatform
from broker.errors import PlatformRefused, PlatformUnavailable
from broker.jobs.model import JobSpec, StageItem
from broker.jobs.observation import State
from broker.jobs.placement import UPLOADS, unfit
from broker.packages.openeo import inspection
from broker.platform import Attempt
from tests.faults.openeo.looking import JOBS, ended, read
from tests.peers.openeo.faults import Faults
from tests.peers.openeo.peer import SCENE, OpenEoPeer, submitted

pytestmark = pytest.mark.xdist_group("openeo")
SENT = r"/files/[^/]+$"
BAND = next(SCENE.glob("*.tif"))
# The file comes back as it was. Not by load_uploaded_files, of which openeo-driver makes no rasters.
SAME: dict[str, Any] = {
    "id": "same",
    "parameters": [{"name": "scene", "schema": {"type": "string", "subtype": "file-path"}, "description": "A raster."}],
    "process_graph": {
        "load": {
            "process_id": "load_disk_data",
            "arguments": {"glob_pattern": {"from_parameter": "scene"}, "format": "GTiff"},
            "result": True,
        }
    },
}
PLACE = {"class": "File", "location": "inputs/scene/a b.tif", "basename": "a b.tif"}


@pytest.fixture
def spec(back_end: OpenEoPeer) -> JobSpec:
    item = StageItem("scene/a b.tif", url=BAND.absolute().as_uri(), trusted=True)
    return back_end.spec(SAME, {"scene": PLACE}, stage=(item,))


@pytest.fixture
def there(back_end: OpenEoPeer) -> Iterator[OpenEoPlatform]:
    """Looks into the workspace past the proxy; nothing of these tests is left in it."""
    platform = back_end.platform()
    yield platform
    assert names(platform) == []


def names(platform: OpenEoPlatform) -> list[str]:
    return [str(one["path"]) for one in platform.api.listed("/files", "files")]


@pytest.mark.parametrize("mode", ["batch", "sync"])
def test_what_is_sent_is_read_and_deleted(
    back_end: OpenEoPeer, there: OpenEoPlatform, spec: JobSpec, mode: str
) -> None:
    platform = back_end.platform(mode=mode)
    attempt = submitted(platform, spec)
    assert names(there) == [f"{spec.name}.scene_a_b.tif"]
    assert ended(platform, attempt).state == State.SUCCEEDED
    path = platform.collect(attempt).outputs["assets"][0]["location"]
    with (
        MemoryFile(read(platform, attempt, path)) as memory,
        memory.open() as made,
        rasterio.open(BAND) as source,
    ):
        assert made.transform == source.transform
        numpy.testing.assert_array_equal(made.read(1), source.read(1))
    platform.release(attempt)
    platform.release(attempt)
    assert names(there) == []


def test_what_a_broker_that_died_has_sent_is_found_by_its_name(
    faults: Faults, platform: OpenEoPlatform, there: OpenEoPlatform, spec: JobSpec
) -> None:
    faults.answer("POST", JOBS, 503, times=1)
    with pytest.raises(PlatformUnavailable):
        submitted(platform, spec)
    assert len(names(there)) == 1
    platform.release(Attempt(spec.job_id, spec.attempt, spec.name))
    assert names(there) == []
    assert faults.count("GET", "/files$") == 1
    platform.release(submitted(platform, spec))  # and the next try sends it again
    assert faults.count("GET", "/files$") == 1, "the handle knows what was sent"


def test_a_token_that_is_refused_costs_no_file(
    faults: Faults, platform: OpenEoPlatform, there: OpenEoPlatform, spec: JobSpec
) -> None:
    faults.answer("PUT", SENT, 401, "TokenInvalid", times=1)
    attempt = submitted(platform, spec)
    assert faults.count("PUT", SENT) == 2
    [file] = there.api.listed("/files", "files")
    assert file["size"] == BAND.stat().st_size
    platform.release(attempt)


def test_an_estimate_leaves_nothing(
    faults: Faults, platform: OpenEoPlatform, there: OpenEoPlatform, spec: JobSpec
) -> None:
    faults.answer("GET", "/estimate$", 200, body={"costs": 3})
    platform.batch.estimate(spec)
    assert faults.count("PUT", SENT) == 1
    assert names(there) == []


def test_what_is_too_large_is_not_sent(
    back_end: OpenEoPeer, faults: Faults, there: OpenEoPlatform, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(b"x" * (2**20 + 1))
    item = StageItem("scene/a b.tif", url=(tmp_path / "big").as_uri(), trusted=True)
    platform = back_end.platform(faults.url, upload_mib=1)
    with pytest.raises(PlatformRefused, match="more than 1048576 bytes") as told:
        submitted(platform, back_end.spec(SAME, {"scene": PLACE}, stage=(item,)))
    assert told.value.fault_of == "input"
    assert faults.count("PUT", SENT) == 0
    assert faults.count("POST", JOBS) == 0


def test_a_back_end_without_a_workspace_is_left_out_before(back_end: OpenEoPeer, faults: Faults, spec: JobSpec) -> None:
    def without(page: dict[str, Any]) -> dict[str, Any]:
        return page | {"endpoints": [one for one in page["endpoints"] if not one["path"].startswith("/files")]}

    needs = inspection(spec.bundle["documents"], spec.bundle["entry"]).needs
    assert needs.shape == {UPLOADS}
    assert unfit(needs, back_end.platform().check().capabilities) == ()
    faults.change("GET", "/openeo/1.2/$", without)
    platform = back_end.platform(faults.url)
    [why] = unfit(needs, platform.check().capabilities)
    assert "PUT /files" in why
    with pytest.raises(PlatformRefused, match="takes no files"):
        submitted(platform, spec)
