"""What a check warns of, by what is known of the platform."""

from __future__ import annotations

from broker.api.reachability import warnings
from broker.jobs.model import Capabilities
from broker.jobs.placement import Candidate


def offer(engine: str | None) -> Capabilities:
    return Capabilities(kinds=frozenset({"cwl"}), cores=2.0, ram_mib=1024, container_engine=engine)


def test_a_platform_that_is_not_available_is_said_with_why() -> None:
    [said] = warnings(Candidate("here", offer(None), False, message="The software directory /x is not there."), {})
    assert (
        said == "The platform here is not available; a job would wait for it: The software directory /x is not there."
    )
    assert "paused" in warnings(Candidate("here", offer(None), paused=True), {})[0]
    assert warnings(Candidate("here", offer(None)), {}) == []


def test_images_are_fetched_or_done_without() -> None:
    [said] = warnings(Candidate("here", offer("podman")), {"a/b:1": True})
    assert "a/b:1 is fetched when the job runs" in said
    [said] = warnings(Candidate("here", offer(None)), {"a/b:1": False})
    assert "run without it" in said
