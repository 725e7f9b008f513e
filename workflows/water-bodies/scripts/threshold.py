"""Split an index into water and land: threshold.py INDEX OTSU MIN_PIXELS RASTER.tif,... [THRESHOLD].

Writes water.tif (1 water, 0 land, 255 no data) and threshold.json.

Otsu's method (1979, doi:10.1109/TSMC.1979.4310076) finds the value that parts a histogram best, and it always finds
one: also where a scene holds no water at all. So it is plausible as a shore only when
  - the two classes explain at least 70 % of the variance. A histogram with one hump gives less (a normal distribution
    64 %), one with two humps more; and
  - the threshold is not negative. Water reflects less in the infrared than in green, so its index is above zero;
    a negative threshold parts two kinds of land.
With OTSU "plausible" zero is the threshold otherwise, which is what the authors of the indices used. With "always" the
threshold is taken as it is; threshold.json still says whether it is plausible, and how many pixels are above zero.
"""

import json
import sys
from pathlib import Path

import numpy
import rasterio
from rasterio.features import sieve

LAND, WATER, NO_DATA = 0, 1, 255
SEPARABLE = 0.7
BINS = 256


def otsu(values):
    """The best threshold, and the share of the variance that lies between the two classes (0 to 1)."""
    counts, edges = numpy.histogram(values, BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    weight = numpy.cumsum(counts) / counts.sum()
    partial = numpy.cumsum(counts * centres) / counts.sum()
    mean = partial[-1]
    variance = (counts * (centres - mean) ** 2).sum() / counts.sum()
    inner = (weight > 0) & (weight < 1)
    between = numpy.zeros(BINS)
    between[inner] = (mean * weight[inner] - partial[inner]) ** 2 / (weight[inner] * (1 - weight[inner]))
    # Where no value lies between the two classes, every threshold there is as good: take the middle. The first would lie
    # at the foot of the land's hump, often below zero, and a clear shore would be refused.
    best = numpy.flatnonzero(between >= between.max() * (1 - 1e-9))
    threshold = (edges[best[0] + 1] + edges[best[-1] + 1]) / 2
    return float(threshold), float(between.max() / variance) if variance > 0 else 0.0


def choose(values, when, wanted=None):
    """The threshold to use, how it was found, and what there is to know about it."""
    found, separability = otsu(values)
    plausible = separability >= SEPARABLE and found >= 0
    if wanted is not None:
        threshold, method = wanted, "given"
    elif plausible or when == "always":
        threshold, method = found, "otsu"
    else:
        threshold, method = 0.0, "zero"
    return {
        "threshold": round(threshold, 6),
        "method": method,
        "otsu": round(found, 6),
        "separability": round(separability, 6),
        "plausible": plausible,
        "open_fraction": round(float((values > 0).mean()), 6),
    }


def main(name, when, min_pixels, files, wanted=None):
    rasters = {Path(file).stem: file for file in files}
    with rasterio.open(rasters[name]) as source:
        index, profile = source.read(1), source.profile
    valid = numpy.isfinite(index)
    if not valid.any():
        sys.exit("The scene has no valid pixel in the area of interest.")
    choice = choose(index[valid], when, wanted)

    water = numpy.where(index > choice["threshold"], WATER, LAND).astype("uint8")
    # Single pixels are noise more often than ponds: patches below the minimum join what surrounds them.
    if min_pixels > 1:
        water = sieve(water, size=min_pixels, mask=valid, connectivity=4)
    water[~valid] = NO_DATA

    grid = {key: profile[key] for key in ("width", "height", "crs", "transform", "count")}
    form = {"driver": "COG", "dtype": "uint8", "nodata": NO_DATA, "compress": "deflate"}
    with rasterio.open("water.tif", "w", **form, **grid) as out:
        out.write(water, 1)
        out.write_colormap(1, {LAND: (240, 236, 226, 255), WATER: (28, 107, 176, 255)})
    with open("threshold.json", "w") as out:
        json.dump(choice, out)


if __name__ == "__main__":
    name, when, min_pixels, files, *wanted = sys.argv[1:]
    main(name, when, int(min_pixels), files.split(","), *map(float, wanted))
