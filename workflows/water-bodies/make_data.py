"""Turn the Sentinel-2 crop of the Python package xarray-spatial 0.5.3 into the STAC catalog of this package's example.

    pip download --no-deps xarray-spatial==0.5.3
    make .software/eo
    .software/eo/bin/python workflows/water-bodies/make_data.py xarray_spatial-0.5.3-py3-none-any.whl

Not part of the package and not run by tests: it is here so that anybody can make `data/` again. Pixels are copied, not
changed or moved: each band keeps its own grid. Same wheel and same GDAL version give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import rasterio
from rasterio.coords import BoundingBox
from rasterio.transform import Affine, array_bounds
from rasterio.warp import transform_bounds
from scipy.io import netcdf_file

WHEEL = "xarray_spatial-0.5.3-py3-none-any.whl"
SHA256 = "84f5a3e07a1ac3212bcfff3c4677daa3c529a533f1493eb555f8e498b7d9746e"
LICENCE = "xarray_spatial-0.5.3.dist-info/licenses/LICENSE.txt"
FOLDER = "xrspatial/datasets/sentinel-2"
VARIABLE = "__xarray_dataarray_variable__"
SCENE = "patagonia-sentinel-2"
EPSG = 32719

# Asset key and common name (STAC eo extension), file in the wheel, Sentinel-2 band. The wheel says "07" of its near
# infrared, but 842 nm, 115 nm wide, in pixels of 10 m is band 8.
BANDS = [
    ("blue", "blue_band.nc", "B02"),
    ("green", "green_band.nc", "B03"),
    ("red", "red_band.nc", "B04"),
    ("nir", "nir_band.nc", "B08"),
    ("swir16", "swir1_band.nc", "B11"),
    ("swir22", "swir2_band.nc", "B12"),
]

# The source states no acquisition date. Certain are only the launch of Sentinel-2A and the day of the first release of
# xarray-spatial that has these files (0.1.9; 0.1.8 does not).
START, END = "2015-06-23T00:00:00Z", "2021-04-27T23:59:59Z"
CREDIT = "Contains modified Copernicus Sentinel data (2015-2021, exact year not stated by the source)."

# Sentinel-2 products give reflectance times 10000. The offset of -1000 came on 2022-01-25, after these files.
SCALE = 0.0001
NO_DATA = 0
COG = "image/tiff; application=geotiff; profile=cloud-optimized"


@dataclass(frozen=True)
class Band:
    """One band as the wheel has it: digital numbers (rows, columns), north up; transform in metres of EPSG:32719."""

    key: str
    name: str
    values: Any
    transform: Affine
    wavelength: float
    width: float

    @property
    def resolution(self) -> int:
        """Pixel size in metres."""
        return int(self.transform.a)

    @property
    def bounds(self) -> BoundingBox:
        """Outer edges in metres."""
        return BoundingBox(*array_bounds(*self.values.shape, self.transform))


def read_band(wheel: zipfile.ZipFile, key: str, file: str, name: str) -> Band:
    """A band of the wheel. Exits when its attributes and its coordinates disagree or a value would not fit."""
    with netcdf_file(io.BytesIO(wheel.read(f"{FOLDER}/{file}")), mmap=False) as source:
        variable = source.variables[VARIABLE]
        attributes = variable._attributes
        values = variable.data.astype("float64")
        x, y = (source.variables[axis].data.astype("float64") for axis in ("x", "y"))
    transform = Affine(*attributes["transform"][:6])
    rows, columns = values.shape
    # Coordinates are those of pixel centres.
    expected_x = transform.c + transform.a * (numpy.arange(columns) + 0.5)
    expected_y = transform.f + transform.e * (numpy.arange(rows) + 0.5)
    if not (numpy.array_equal(x, expected_x) and numpy.array_equal(y, expected_y)):
        sys.exit(f"{file}: its coordinates are not those of its transform.")
    if attributes["crs"] != f"+init=epsg:{EPSG}".encode():
        sys.exit(f"{file}: its reference system is {attributes['crs']!r}.")
    digital = values.astype("uint16")
    if not numpy.array_equal(digital, values) or (digital == NO_DATA).any():
        sys.exit(f"{file}: not whole numbers from 1 to 65535.")
    wavelength = float(attributes["Nominal Wavelength (µm)"])
    return Band(key, name, digital, transform, wavelength, float(attributes["Bandwidth (µm)"]) / 1000)


def write_band(band: Band, target: Path) -> None:
    """Copy one band into a Cloud-Optimized GeoTIFF."""
    rows, columns = band.values.shape
    profile = {
        "driver": "COG",
        "width": columns,
        "height": rows,
        "count": 1,
        "dtype": "uint16",
        "nodata": NO_DATA,
        "crs": f"EPSG:{EPSG}",
        "transform": band.transform,
        "compress": "deflate",
        "predictor": "yes",
        "blocksize": 512,
        "overviews": "none",
    }
    with rasterio.open(target, "w", **profile) as out:
        out.write(band.values, 1)


def grid(band: Band) -> dict[str, Any]:
    """Shape and position in the words of the STAC projection extension."""
    return {
        "proj:epsg": EPSG,
        "proj:shape": list(band.values.shape),
        "proj:transform": list(band.transform[:6]),
    }


def asset(band: Band) -> dict[str, Any]:
    """The STAC asset of one band."""
    return {
        "href": f"./{band.key}.tif",
        "type": COG,
        "title": f"Sentinel-2 {band.name} ({band.key}), {band.resolution} m",
        "roles": ["data"],
        "gsd": band.resolution,
        **grid(band),
        "eo:bands": [
            {
                "name": band.name,
                "common_name": band.key,
                "center_wavelength": band.wavelength,
                "full_width_half_max": band.width,
            }
        ],
        "raster:bands": [
            {
                "data_type": "uint16",
                "nodata": NO_DATA,
                "sampling": "area",
                "spatial_resolution": band.resolution,
                "scale": SCALE,
                "offset": 0,
            }
        ],
    }


def item(bands: list[Band]) -> dict[str, Any]:
    """The STAC item of the scene. Its footprint is where all bands have pixels; two of them reach farther."""
    green = next(band for band in bands if band.key == "green")
    bounds = transform_bounds(f"EPSG:{EPSG}", "EPSG:4326", *green.bounds, densify_pts=21)
    west, south, east, north = (round(edge, 6) for edge in bounds)
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [
            "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
            "https://stac-extensions.github.io/projection/v1.1.0/schema.json",
            "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
        ],
        "id": SCENE,
        "bbox": [west, south, east, north],
        "geometry": {
            "type": "Polygon",
            "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
        },
        "properties": {
            "title": "Dry valley in Patagonia: Sentinel-2",
            "description": "Tracks, dry washes and bare hills in Santa Cruz, Argentina. The source states no "
            "acquisition date: the interval is that of the mission's launch and of the first publication. The "
            f"footprint is that of the 10 m bands; the 20 m bands reach farther south and east. {CREDIT}",
            "datetime": None,
            "start_datetime": START,
            "end_datetime": END,
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "gsd": green.resolution,
            "license": "MIT",
            "providers": [
                {"name": "European Union, Copernicus; ESA", "roles": ["producer", "licensor"]},
                {
                    "name": "xarray-spatial",
                    "roles": ["processor", "licensor"],
                    "url": "https://github.com/xarray-contrib/xarray-spatial",
                },
            ],
            **grid(green),
        },
        "links": [
            {"rel": "root", "href": "../catalog.json", "type": "application/json"},
            {"rel": "parent", "href": "../catalog.json", "type": "application/json"},
            {"rel": "license", "href": "../LICENSE", "type": "text/plain"},
        ],
        "assets": {band.key: asset(band) for band in bands},
    }


def catalog() -> dict[str, Any]:
    """A self-contained catalog with the one item."""
    return {
        "type": "Catalog",
        "stac_version": "1.0.0",
        "id": f"{SCENE}-input",
        "title": "Input of the water-bodies example",
        "description": f"One Sentinel-2 crop, a dry valley in Patagonia. Source and licence: see SOURCE.md. {CREDIT}",
        "links": [
            {"rel": "root", "href": "./catalog.json", "type": "application/json"},
            {"rel": "item", "href": f"./{SCENE}/{SCENE}.json", "type": "application/geo+json"},
        ],
    }


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Indented, so that a change of the data can be read in a diff."""
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def main(wheel_file: Path) -> None:
    """Write `data/` beside this script from the wheel."""
    if hashlib.sha256(wheel_file.read_bytes()).hexdigest() != SHA256:
        sys.exit(f"{wheel_file} is not {WHEEL} (sha256 {SHA256}).")
    data = Path(__file__).parent / "data"
    scene = data / SCENE
    scene.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel_file) as wheel:
        bands = [read_band(wheel, key, file, name) for key, file, name in BANDS]
        (data / "LICENSE").write_bytes(wheel.read(LICENCE))
    for band in bands:
        write_band(band, scene / f"{band.key}.tif")
    write_json(scene / f"{SCENE}.json", item(bands))
    write_json(data / "catalog.json", catalog())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
