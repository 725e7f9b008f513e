"""What the tests of publishing in the catalog publish: a run of water-bodies, and the request for it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from broker.results.published import Published

JOB = "01985f1e-7a4c-7d2e-9b1a-3c5d7e9f1a2b"
MOMENT = "2026-11-22T10:00:00Z"
_SCENE = "https://data.example.org/S2B_10TFK_20210713.tif"
_RUN: dict[str, Any] = {
    "type": "earthcode-broker provenance record v1",
    "job": {"id": JOB, "title": "July", "phase": "successful", "started": MOMENT, "finished": MOMENT, "attempts": 1},
    "process": {
        "id": "water-bodies",
        "title": "Water bodies",
        "description": "Finds water in Sentinel-2 scenes.",
        "version": "1.4.1",
        "revision": 1,
        "kind": "cwl",
        "digest": "5f" * 32,
        "submitted_digest": "6e" * 32,
        "mediaType": "application/cwl+yaml",
        "source": {
            "repository": "https://github.com/example/water-bodies",
            "commit": "ab" * 20,
            "path": "water-bodies.cwl",
            "license": "Apache-2.0",
            "authors": [{"name": "Ada Example", "identifier": "https://orcid.org/0000-0002-1825-0097"}],
        },
    },
    "platform": {"name": "local@host", "adapter": "local", "isolation": "bubblewrap"},
    "engine": {"name": "cwltool", "version": "3.3"},
    "broker": {"version": "0.1.0"},
    "inputs": {
        "scene": [
            {"path": "inputs/scene.tif", "location": _SCENE, "sha256": "1a" * 32, "size": 1024, "stacId": "S2B_10TFK"}
        ],
        "bbox": {"value": "-121.399,39.834,-120.74,40.472"},
    },
    "jobOrder": {
        "scene": {"class": "File", "location": "inputs/scene.tif", "sha256": "1a" * 32, "size": 1024},
        "bbox": "-121.399,39.834,-120.74,40.472",
    },
    "outputs": {
        "water": [
            {
                "path": "water/otsu.tif",
                "sha256": "2b" * 32,
                "size": 2048,
                "mediaType": "image/tiff; application=geotiff",
            },
            {"path": "water/catalog.json", "sha256": "3c" * 32, "size": 300, "mediaType": "application/json"},
        ]
    },
    "steps": [
        {
            "name": "crop",
            "tool": "crop.cwl",
            "status": "successful",
            "image": "ghcr.io/example/crop:1.0",
            "imageDigest": "sha256:" + "4d" * 32,
            "exitCode": 0,
            "requested": {"cores": 1, "ram": 1024},
        }
    ],
    "events": [],
}


def a_run(job: str = JOB, **job_facts: Any) -> dict[str, Any]:
    """A record of provenance."""
    found = deepcopy(_RUN)
    found["job"] |= {"id": job, **job_facts}
    return found


def a_request(**changes: Any) -> dict[str, Any]:
    """A request without problems; a change to None takes a member out."""
    found = {
        "project": "fairsendd",
        "themes": ["land"],
        "variables": ["cropland-mask"],
        "missions": ["sentinel-2"],
        "title": "Water bodies of the Sierra Nevada",
        "description": "Water seen by Sentinel-2 in July 2021.",
        "licence": "CC-BY-4.0",
        "keywords": ["water"],
        "contacts": [{"name": "Ada Example", "orcid": "0000-0002-1825-0097", "email": "ada@example.org"}],
        "extent": {"bbox": [-121.4, 39.8, -120.7, 40.5], "interval": ["2021-07-13T00:00:00Z", "2021-07-14T00:00:00Z"]},
        "collection": "https://prr.example.org/stac/collections/water-bodies-sierra",
        "product": {"id": "water-bodies-sierra"},
        **changes,
    }
    return {name: value for name, value in found.items() if value is not None}


def published(*runs: dict[str, Any], **changes: Any) -> Published:
    """What is published: one run, unless others are given."""
    values: dict[str, Any] = {
        "id": "7c9e6679",
        "moment": MOMENT,
        "runs": runs or (a_run(),),
        "package": b"cwlVersion: v1.2\nclass: Workflow\n",
        "broker": "https://broker.example.org",
        **changes,
    }
    return Published(**values)
