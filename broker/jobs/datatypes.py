"""Types of data: what a package reads and writes, and whether a platform takes that. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

NAMES: Mapping[str, str] = {  # as openEO and GDAL call formats -> media types
    "cog": "image/tiff",
    "gtiff": "image/tiff",
    "geotiff": "image/tiff",
    "jp2openjpeg": "image/jp2",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "netcdf": "application/netcdf",
    "zarr": "application/vnd+zarr",
    "json": "application/json",
    "geojson": "application/geo+json",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "geoparquet": "application/vnd.apache.parquet",
    "application/x-netcdf": "application/netcdf",
    "application/x-netcdf4": "application/netcdf",
    "image/geotiff": "image/tiff",
    "image/geo+tiff": "image/tiff",
    "application/x-zarr": "application/vnd+zarr",
    "application/vnd.zarr": "application/vnd+zarr",
}


def normal(name: str) -> str:
    """A media type without its parameters, of a media type or the name of a format."""
    plain = name.partition(";")[0].strip().lower()
    return NAMES.get(plain, plain)


def lacking(needed: Mapping[str, Sequence[str]], offered: Iterable[str]) -> Iterator[str]:
    """For each input or output of which a platform takes none of the types, a sentence. It takes any where it offers
    none in particular; `image/*` is any image."""
    known = {normal(one) for one in offered}
    if not known:
        return
    for port, types in needed.items():
        wanted = {normal(one) for one in types}
        if wanted and not wanted & known and not {f"{one.partition('/')[0]}/*" for one in wanted} & known:
            yield f"it does not support {' or '.join(sorted(types))} (the {port})."
