"""Outline what the mask holds: polygons.py water.tif writes water.geojson, the largest patch first.

Areas are counted in pixels of the scene's own (metric) grid; coordinates are longitude and latitude (RFC 7946),
rounded to a tenth of a metre.
"""

import json
import sys

import rasterio
from rasterio.features import shapes
from rasterio.warp import transform_geom

WATER = 1


def ring_area(ring):
    """Signed area of a closed ring in the square of its unit (shoelace formula)."""
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in zip(ring, ring[1:])) / 2


def main(file):
    with rasterio.open(file) as source:
        water, transform, crs = source.read(1), source.transform, source.crs
    pixel = abs(transform.a * transform.e)

    patches = []
    for outline, _ in shapes(water, mask=water == WATER, connectivity=4, transform=transform):
        outer, *holes = outline["coordinates"]
        area = abs(ring_area(outer)) - sum(abs(ring_area(hole)) for hole in holes)
        patches.append((round(area / pixel), transform_geom(crs, "EPSG:4326", outline, precision=6)))
    # Stable: patches of one size stay in the order in which the raster is read (from north to south).
    patches.sort(key=lambda patch: -patch[0])

    features = [
        {
            "type": "Feature",
            "id": number,
            "properties": {"pixels": pixels, "area_km2": round(pixels * pixel / 1e6, 6)},
            "geometry": geometry,
        }
        for number, (pixels, geometry) in enumerate(patches, start=1)
    ]
    with open("water.geojson", "w") as out:
        json.dump({"type": "FeatureCollection", "features": features}, out)


if __name__ == "__main__":
    main(sys.argv[1])
