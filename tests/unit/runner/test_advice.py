"""Sentences on what to do, by what container engines and tools write."""

from __future__ import annotations

import pytest

from broker.runner import advice

PINGING = "Trying to pull x...\nError: initializing source docker://x: pinging container registry x: dial tcp: "


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (PINGING + "lookup nowhere.invalid: no such host", "DNS"),
        (PINGING + "connect: connection refused", "cannot be reached"),
        ("Error: reading manifest 9 in docker.io/library/alpine: manifest unknown\n\n", "name and tag"),
        ("Error: requested access to the resource is denied", "log in"),
        ("", "The operator can try"),
    ],
)
def test_why_an_image_could_not_be_fetched(said: str, words: str) -> None:
    assert words in advice.fetching(advice.said_last(said))
    assert not advice.said_last(said).startswith("Error")


@pytest.mark.parametrize(
    ("lines", "image", "words"),
    [
        ("Traceback\nModuleNotFoundError: No module named 'rasterio'", None, "[platforms.local] software"),
        ("ModuleNotFoundError: No module named 'rasterio'", "a/b:1", "a/b:1 does not have the Python module rasterio"),
        ("sh: 1: gdalwarp: not found", "a/b:1", "the command gdalwarp"),
        ("bash: line 1: gdalwarp: command not found", "a/b:1", "the command gdalwarp"),
    ],
)
def test_software_that_is_missing(lines: str, image: str | None, words: str) -> None:
    assert words in (advice.missing_software(lines, image) or "")


def test_no_advice_without_cause() -> None:
    assert advice.missing_software("ValueError: the scene was not found", None) is None
    assert advice.no_network("Network is unreachable", asked=True, given=True) is None
    assert advice.no_network("all is well", asked=False, given=False) is None
