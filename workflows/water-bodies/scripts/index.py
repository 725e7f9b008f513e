"""Compute a water index from cropped bands: index.py NAME BAND.tif... writes NAME.tif (Cloud-Optimized GeoTIFF).

Both are normalised differences, (a - b) / (a + b), between -1 and 1, high over water:
  ndwi   green and near infrared          McFeeters 1996, doi:10.1080/01431169608948714
  mndwi  green and short-wave infrared    Xu 2006, doi:10.1080/01431160600589179 (towns do not look like water)
"""

import sys
from pathlib import Path

import numpy
import rasterio

INDICES = {"ndwi": ("green", "nir"), "mndwi": ("green", "swir16")}


def main(name, files):
    bands = {Path(file).stem: file for file in files}
    first, second = INDICES[name]
    with rasterio.open(bands[first]) as source:
        a, profile = source.read(1), source.profile
    with rasterio.open(bands[second]) as source:
        b = source.read(1)

    # Where both are zero (no data without a no-data value) the index does not exist.
    total = a + b
    index = numpy.full(a.shape, numpy.nan, "float32")
    numpy.divide(a - b, total, out=index, where=total != 0)

    grid = {key: profile[key] for key in ("width", "height", "crs", "transform", "count", "dtype", "nodata")}
    with rasterio.open(f"{name}.tif", "w", driver="COG", compress="deflate", predictor="yes", **grid) as out:
        out.write(index, 1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
