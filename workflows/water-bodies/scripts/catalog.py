"""Describe the results: catalog.py SCENE_DIR INDEX BANDS.tif,... INDICES.tif,... water.tif water.geojson threshold.json

Writes results/: a self-contained STAC catalog with one item and its assets (COG, GeoJSON, PNG quicklook). Nothing in
it depends on the clock or the machine, so equal inputs give an equal catalog.
"""

import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.warp import transform_bounds

WATER, NO_DATA = 1, 255
COG = "image/tiff; application=geotiff; profile=cloud-optimized"
TITLES = {
    "ndwi": "Normalised Difference Water Index (green, near infrared)",
    "mndwi": "Modified Normalised Difference Water Index (green, short-wave infrared)",
}
# What the mask shows. A threshold below zero parts two kinds of land, and then nothing may call the result water.
WATER_WORDS = {
    "title": "Water bodies",
    "mask": "Water mask: 1 water, 0 land, 255 no data",
    "polygons": "Water bodies, the largest first",
    "meaning": "Pixels above it are taken for water.",
}
LAND_WORDS = {
    "title": "Land of higher water index",
    "mask": "Mask, not of water: 1 index above the threshold, 0 below it, 255 no data",
    "polygons": "Land with an index above the threshold, the largest patch first",
    "meaning": "It is below zero, so what lies above it is land of a higher index and not open water.",
}
YELLOW = numpy.array([[255], [225], [0]], "uint8")
SHOWN = 900  # pixels; smaller quicklooks are enlarged by a whole number


def find_item(scene):
    """The first item of the input catalog."""
    catalog = json.loads((scene / "catalog.json").read_text())
    link = next(link for link in catalog["links"] if link["rel"] == "item")
    return json.loads((scene / link["href"]).read_text())


def read(file):
    with rasterio.open(file) as source:
        return source.read(1), source


def statistics(values):
    """STAC raster:bands statistics of the valid pixels."""
    valid = values[numpy.isfinite(values)].astype("float64")
    return {
        "minimum": round(float(valid.min()), 6),
        "maximum": round(float(valid.max()), 6),
        "mean": round(float(valid.mean()), 6),
        "stddev": round(float(valid.std()), 6),
        "valid_percent": round(100 * valid.size / values.size, 6),
    }


def stretch(values):
    """8-bit grey levels between the 2nd and the 98th percentile."""
    low, high = numpy.nanpercentile(values, [2, 98])
    return (numpy.nan_to_num(numpy.clip((values - low) / max(high - low, 1e-9), 0, 1)) * 255).astype("uint8")


def quicklook(bands, water, target):
    """False colour (short-wave infrared, near infrared, green); the mask outlined in yellow, the rest dimmed."""
    zoom = max(1, SHOWN // max(water.shape))
    picture = numpy.stack([stretch(read(bands[name])[0]) for name in ("swir16", "nir", "green")])
    picture = picture.repeat(zoom, axis=1).repeat(zoom, axis=2)
    inside = (water == WATER).repeat(zoom, axis=0).repeat(zoom, axis=1)
    if inside.any():
        picture[:, ~inside] = (picture[:, ~inside] * 0.5).astype("uint8")
    # An edge pixel is inside and has a neighbour that is not.
    padded = numpy.pad(inside, 1, mode="edge")
    surrounded = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    picture[:, inside & ~surrounded] = YELLOW
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a PNG has no coordinates
        _, height, width = picture.shape
        with rasterio.open(target, "w", driver="PNG", width=width, height=height, count=3, dtype="uint8") as out:
            out.write(picture)


def asset(href, media_type, title, roles, **more):
    return {"href": f"./{href}", "type": media_type, "title": title, "roles": roles, **more}


def assets(index_files, words):
    """The assets of the result item, by key."""
    found = {}
    for file in index_files:
        name = Path(file).stem
        band = {"data_type": "float32", "nodata": "nan", "statistics": statistics(read(file)[0])}
        found[name] = asset(f"{name}.tif", COG, TITLES[name], ["data", "index"], **{"raster:bands": [band]})
    band = {"data_type": "uint8", "nodata": NO_DATA}
    found["water"] = asset("water.tif", COG, words["mask"], ["data"], **{"raster:bands": [band]})
    found["polygons"] = asset("water.geojson", "application/geo+json", words["polygons"], ["data"])
    title = "False colour; what is above the threshold outlined in yellow, the rest dimmed"
    found["quicklook"] = asset("quicklook.png", "image/png", title, ["thumbnail"])
    return found


def summary(index, choice, words):
    """In plain words what was outlined, and whether there is open water."""
    how = {"otsu": "Otsu's threshold", "zero": "Otsu's threshold is not plausible here", "given": "as given"}[choice["method"]]
    share = f"{100 * choice['open_fraction']:.4g} %"
    return (
        f"{index.upper()} parted at {choice['threshold']:.4g} ({how}). {words['meaning']} "
        f"Share of pixels with an index above zero, as open water has: {share}."
    )


def properties(source, grid, water):
    """What the result says about time, grid and mask; `water:` names are explained in the README."""
    pixels, valid = int((water == WATER).sum()), int((water != NO_DATA).sum())
    pixel_km2 = abs(grid.transform.a * grid.transform.e) / 1e6
    given = source["properties"]
    carried = ("start_datetime", "end_datetime", "platform", "instruments", "constellation", "gsd", "providers")
    return {
        "datetime": given["datetime"],
        **{key: given[key] for key in carried if given.get(key) is not None},
        "proj:epsg": grid.crs.to_epsg(),
        "proj:shape": list(water.shape),
        "proj:transform": [round(number, 6) for number in grid.transform[:6]],
        "water:source": source["id"],
        "water:mask_pixels": pixels,
        "water:mask_fraction": round(pixels / valid, 6),
        "water:mask_area_km2": round(pixels * pixel_km2, 6),
    }


def item(item_id, grid, described, found):
    """The STAC item of the results."""
    bounds = transform_bounds(grid.crs, "EPSG:4326", *grid.bounds, densify_pts=21)
    west, south, east, north = (round(edge, 6) for edge in bounds)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
        ],
        "id": item_id,
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": described,
        "links": [
            {"rel": "root", "href": "../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
        ],
        "assets": found,
    }


def catalog(item_id, title, description):
    """The catalog that holds the one item."""
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": f"{item_id}-results",
        "title": title,
        "description": description,
        "links": [
            {"rel": "root", "href": "./catalog.json", "type": "application/json"},
            {"rel": "item", "href": f"./{item_id}/{item_id}.json", "type": "application/geo+json"},
        ],
    }


def write(path, document):
    with path.open("w") as out:
        print(json.dumps(document, indent=2), file=out)


def main(scene, index, band_files, index_files, water_file, polygon_file, threshold_file):
    source = find_item(Path(scene))
    item_id = f"{source['id']}-water"
    folder = Path("results", item_id)
    folder.mkdir(parents=True)
    for file in (*index_files, water_file, polygon_file):
        shutil.copyfile(file, folder / Path(file).name)

    water, grid = read(water_file)
    quicklook({Path(file).stem: file for file in band_files}, water, folder / "quicklook.png")

    choice = json.loads(Path(threshold_file).read_text())
    words = LAND_WORDS if choice["threshold"] < 0 else WATER_WORDS
    described = {
        "title": f"{words['title']} in {source['id']}",
        "description": summary(index, choice, words),
        **properties(source, grid, water),
        "water:index": index,
        **{f"water:{key}": value for key, value in choice.items()},
        "water:polygons": len(json.loads(Path(polygon_file).read_text())["features"]),
    }
    write(folder / f"{item_id}.json", item(item_id, grid, described, assets(index_files, words)))
    write(Path("results", "catalog.json"), catalog(item_id, described["title"], described["description"]))


if __name__ == "__main__":
    scene, index, band_files, index_files, *single = sys.argv[1:]
    main(scene, index, band_files.split(","), index_files.split(","), *single)
