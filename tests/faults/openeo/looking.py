"""Looking at jobs on an openEO back-end, and what its requests are called."""

from __future__ import annotations

from typing import Any

from adapters.openeo.platform import OpenEoPlatform
from broker.jobs.observation import Observation, State
from broker.platform import Attempt
from tests.peers.broker import wait_for

JOBS, JOB, RESULTS = r"/jobs$", r"/jobs/[^/]+$", r"/jobs/[^/]+/results$"
START = RESULTS  # by POST
ASSET = r"/results/assets/"
JWT = "https://api.openeo.org/1.3.0/authentication/jwt"
LOAD = {"id": "SCENE", "spatial_extent": None, "temporal_extent": None}
NDVI: dict[str, Any] = {
    "id": "ndvi",
    "process_graph": {
        "load": {"process_id": "load_collection", "arguments": LOAD},
        "ndvi": {"process_id": "ndvi", "arguments": {"data": {"from_node": "load"}}, "result": True},
    },
}


def look(platform: OpenEoPlatform, attempt: Attempt) -> Observation:
    [seen] = platform.observe([attempt])
    return seen


def ended(platform: OpenEoPlatform, attempt: Attempt) -> Observation:
    going = (State.QUEUED, State.RUNNING)
    wait_for(lambda: look(platform, attempt).state not in going, 30, lambda: str(look(platform, attempt)))
    return look(platform, attempt)


def read(platform: OpenEoPlatform, attempt: Attempt, path: str = "stac/openEO.tif", offset: int = 0) -> bytes:
    with platform.open(attempt, path, offset) as stream:
        return stream.read()


def job_of(attempt: Attempt) -> str:
    return str((attempt.handle or {})["id"])
