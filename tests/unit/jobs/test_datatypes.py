"""Types of data: what a platform takes, under whichever name."""

from __future__ import annotations

import pytest

from broker.jobs.datatypes import lacking


@pytest.mark.parametrize(
    ("needed", "offered", "lacks"),
    [
        ({}, ["GTiff"], []),
        ({"input scene": ["image/tiff"]}, [], []),
        ({"input scene": ["image/tiff; application=geotiff"]}, ["GTiff", "NetCDF"], []),
        ({"output index": ["gtiff"]}, ["image/tiff; application=geotiff; profile=cloud-optimized"], []),
        ({"input scene": ["image/jp2"]}, ["image/*"], []),
        ({"input scene": ["image/jp2", "application/netcdf"]}, ["NetCDF"], []),
        ({"input scene": ["image/jp2"]}, ["NetCDF"], ["image/jp2 (the input scene)"]),
        (
            {"input scene": ["image/jp2"], "output table": ["text/csv", "application/json"]},
            ["GTiff"],
            ["image/jp2 (the input scene)", "application/json or text/csv (the output table)"],
        ),
    ],
)
def test_what_a_platform_lacks(needed: dict[str, list[str]], offered: list[str], lacks: list[str]) -> None:
    assert [*lacking(needed, offered)] == [f"it does not support {one}." for one in lacks]
