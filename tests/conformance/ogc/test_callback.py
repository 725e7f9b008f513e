"""Part 1, callback."""

from __future__ import annotations

import json

from tests.api.schemas import validate
from tests.conformance.ogc.iut import MESSAGE, Iut
from tests.peers.broker import wait_for


def test_req_callback_job_callback(iut: Iut) -> None:
    told = {
        name: iut.web.serve(f"/callback/{name}", b"", media_type="text/plain")
        for name in ("successUri", "inProgressUri", "failedUri")
    }

    def posts(name: str) -> list[bytes]:
        found = [one for one in iut.web.requests if one.path == f"/callback/{name}" and one.method == "POST"]
        return [one.body for one in found]

    iut.ended("echo", MESSAGE, subscriber=told)
    wait_for(lambda: bool(posts("successUri")), 30, lambda: "nobody was told of the success")
    results = json.loads(posts("successUri")[0])
    validate(results, "results")
    assert results == {"message": "teststring"}
    assert posts("inProgressUri")
    for body in posts("inProgressUri"):
        validate(json.loads(body), "statusInfo")
    iut.ended("failing", {}, subscriber=told)
    wait_for(lambda: bool(posts("failedUri")), 30, lambda: "nobody was told of the failure")
    validate(json.loads(posts("failedUri")[0]), "statusInfo")
    assert len(posts("successUri")) == 1
