"""Cut one band out of a staged scene: crop.py SCENE_DIR BAND [WEST SOUTH EAST NORTH] writes BAND.tif.

Values become float32 in the unit that the STAC item declares (raster:bands scale and offset, if any), no-data becomes
NaN, and every band comes out on the same grid: that of the green band, whatever its own pixel size (the short-wave
infrared bands of Sentinel-2 have 20 m pixels beside the 10 m of green).
"""

import json
import sys
from math import ceil, floor
from pathlib import Path

import numpy
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from rasterio.windows import Window


def find_item(scene):
    """The first item that the catalog links to, and the directory its asset links are relative to."""
    catalog = json.loads((scene / "catalog.json").read_text())
    link = next(link for link in catalog["links"] if link["rel"] == "item")
    path = scene / link["href"]
    return json.loads(path.read_text()), path.parent


def find_asset(item, band):
    """The asset that holds a band, found by common name (STAC 1.0 and 1.1 spell it differently) or by key."""
    for asset in item["assets"].values():
        bands = asset.get("eo:bands") or asset.get("bands") or []
        names = [entry.get("common_name") or entry.get("eo:common_name") for entry in bands]
        if names == [band]:
            return asset
    if band in item["assets"]:
        return item["assets"][band]
    sys.exit(f"The scene {item['id']} has no {band} band; it has: {', '.join(item['assets'])}.")


def window_of(reference, area):
    """The pixels of the reference grid that cover the area of interest: everything when there is none."""
    if not area:
        return Window(0, 0, reference.width, reference.height)
    west, south, east, north = transform_bounds("EPSG:4326", reference.crs, *area, densify_pts=21)
    first_column, first_row = ~reference.transform * (west, north)
    last_column, last_row = ~reference.transform * (east, south)
    # Outwards to whole pixels, but not beyond the scene.
    left, top = max(floor(first_column), 0), max(floor(first_row), 0)
    right, bottom = min(ceil(last_column), reference.width), min(ceil(last_row), reference.height)
    if right <= left or bottom <= top:
        sys.exit(f"The area of interest {area} lies outside the scene.")
    return Window(left, top, right - left, bottom - top)


def main(scene, band, area):
    if len(area) not in (0, 4):
        sys.exit(f"The area of interest needs four numbers (west, south, east, north), not {len(area)}.")
    item, folder = find_item(Path(scene))
    asset = find_asset(item, band)
    scaling = (asset.get("raster:bands") or asset.get("bands") or [{}])[0]
    scale = scaling.get("scale", scaling.get("raster:scale", 1.0))
    offset = scaling.get("offset", scaling.get("raster:offset", 0.0))

    with rasterio.open(folder / find_asset(item, "green")["href"]) as reference:
        window = window_of(reference, area)
        grid = {
            "crs": reference.crs,
            "transform": reference.window_transform(window),
            "width": int(window.width),
            "height": int(window.height),
        }
    with rasterio.open(folder / asset["href"]) as source:
        # In float32, or the values between two pixels would be rounded to whole digital numbers.
        with WarpedVRT(source, resampling=Resampling.bilinear, dtype="float32", **grid) as warped:
            values = warped.read(1, masked=True) * numpy.float32(scale) + numpy.float32(offset)

    profile = {"driver": "GTiff", "count": 1, "dtype": "float32", "nodata": float("nan"), **grid}
    with rasterio.open(f"{band}.tif", "w", **profile) as out:
        out.write(values.filled(numpy.nan), 1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [float(number) for number in sys.argv[3:]])
