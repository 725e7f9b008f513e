"""The scripts of water-bodies find no water where there is none, unless the user takes Otsu's threshold as it is.

They need numpy and rasterio, which the broker does not: they run under the interpreter of the software environment.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

EO_PYTHON = Path(__file__).parents[3] / ".software" / "eo" / "bin" / "python"
needs_software = pytest.mark.skipif(not EO_PYTHON.exists(), reason="numpy and rasterio: make .software/eo")

# Histograms of two humps: a lake, and two kinds of land; and of one: all land alike.
CHOICES = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy, threshold
normal = numpy.random.default_rng(1).normal
lake = numpy.concatenate([normal(-0.4, 0.05, 9000), normal(0.5, 0.05, 1000)])
land = numpy.concatenate([normal(-0.6, 0.05, 5000), normal(-0.25, 0.05, 5000)])
plain = normal(-0.3, 0.05, 10000)
cases = {"lake": lake, "land": land, "plain": plain}
found = {f"{name} {when}": threshold.choose(values, when) for name, values in cases.items()
         for when in ("plausible", "always")}
found["lake given"] = threshold.choose(lake, "always", 0.1)
print(json.dumps(found))
"""

# Everything that the workflow does up to the polygons, in one process.
SCENE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import crop, index, polygons, threshold
for band in ("green", "nir", "swir16"):
    crop.main(sys.argv[2], band, [])
bands = ["green.tif", "nir.tif", "swir16.tif"]
found = {}
for name, when, smallest in (("ndwi", "plausible", 6), ("mndwi", "plausible", 6), ("mndwi", "always", 12)):
    index.main(name, bands)
    threshold.main(name, when, smallest, [f"{name}.tif"])
    polygons.main("water.tif")
    features = json.loads(Path("water.geojson").read_text())["features"]
    found[f"{name} {when}"] = {**json.loads(Path("threshold.json").read_text()), "polygons": len(features)}
print(json.dumps(found))
"""


def run(script: str, folder: Path, *arguments: Path) -> dict[str, dict[str, Any]]:
    """What a script prints, run in an empty folder."""
    command: list[str | Path] = [EO_PYTHON, "-B", "-c", script, *arguments]
    printed = subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=60).stdout
    found: dict[str, dict[str, Any]] = json.loads(printed)
    return found


@pytest.fixture(scope="module")
def choices(water_bodies: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What is chosen for made-up histograms."""
    return run(CHOICES, tmp_path_factory.mktemp("choices"), water_bodies / "scripts")


@needs_software
@pytest.mark.parametrize("when", ["plausible", "always"])
def test_a_shore_is_believed(choices: dict[str, dict[str, Any]], when: str) -> None:
    choice = choices[f"lake {when}"]
    assert choice["method"] == "otsu"
    assert choice["plausible"]
    # In the middle of the gap between land at -0.4 and water at 0.5, not at the foot of the land's hump.
    assert choice["threshold"] == choice["otsu"] == pytest.approx(0.05, abs=0.03)
    assert choice["open_fraction"] == 0.1


@needs_software
@pytest.mark.parametrize("kind", ["land", "plain"])
def test_land_is_parted_only_on_request(choices: dict[str, dict[str, Any]], kind: str) -> None:
    default, always = choices[f"{kind} plausible"], choices[f"{kind} always"]
    assert (default["method"], default["threshold"]) == ("zero", 0)
    assert always["method"] == "otsu"
    assert always["threshold"] == default["otsu"] < 0
    assert not default["plausible"]
    assert not always["plausible"]
    assert default["open_fraction"] == always["open_fraction"] == 0


@needs_software
def test_one_hump_is_told_from_two(choices: dict[str, dict[str, Any]]) -> None:
    """A normal distribution cut in two keeps 2/pi of its variance between the halves."""
    assert choices["plain plausible"]["separability"] == pytest.approx(0.6366, abs=0.01)
    assert choices["land plausible"]["separability"] > 0.9


@needs_software
def test_a_given_threshold_wins(choices: dict[str, dict[str, Any]]) -> None:
    assert (choices["lake given"]["method"], choices["lake given"]["threshold"]) == ("given", 0.1)


@needs_software
def test_the_example_scene_is_a_negative_control(water_bodies: Path, tmp_path: Path) -> None:
    """No water by default; what the example outlines instead is what expected.json says, and it is not plausible."""
    found = run(SCENE, tmp_path, water_bodies / "scripts", water_bodies / "data")
    for name in ("ndwi", "mndwi"):
        choice = found[f"{name} plausible"]
        assert (choice["method"], choice["polygons"], choice["plausible"]) == ("zero", 0, False)
        assert choice["open_fraction"] <= 0.0001
    checks = json.loads((water_bodies / "expected.json").read_text(encoding="utf-8"))["values"]
    expected = {check["pointer"].removeprefix("/properties/water:"): check.get("is") for check in checks}
    example = found["mndwi always"]
    for name in ("method", "plausible", "open_fraction"):
        assert example[name] == expected[name]
    assert example["threshold"] == pytest.approx(expected["threshold"], abs=0.0005)
    assert example["polygons"] == pytest.approx(expected["polygons"], abs=1)
