"""What a back-end says of itself, and of a graph or a job before there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from adapters.openeo.platform import OpenEoPlatform
from broker.errors import PlatformRefused, PlatformUnavailable
from tests.faults.openeo.looking import JOBS
from tests.peers.openeo.faults import Faults
from tests.peers.openeo.peer import OpenEoPeer, one
from tests.peers.web import WebPeer

pytestmark = pytest.mark.xdist_group("openeo")


def test_an_estimate_leaves_nothing_there(back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform) -> None:
    """The peer gives none by itself: the answer is scripted, what is around it is real."""
    spec = back_end.spec(one("say", "how much"))
    assert platform.estimate(spec).costs is None
    listed = {"path": "/jobs/{id}/estimate", "methods": ["GET"]}
    faults.change("GET", "/openeo/1.2/$", lambda page: page | {"endpoints": [*page["endpoints"], listed]})
    told = {"costs": 3.5, "duration": "P1DT2H3M4.5S", "size": 1024, "expires": "2026-12-01T00:00:00Z"}
    faults.answer("GET", "/estimate$", 200, body=told)
    estimating = back_end.platform(faults.url)
    found = estimating.estimate(spec)
    assert (found.costs, found.currency, found.duration, found.size) == (3.5, "credits", 93784.5, 1024)
    assert "2026-12-01" in found.text
    assert back_end.ids(spec) == []
    faults.answer("GET", "/estimate$", 500, "EstimateComplexity")
    with pytest.raises(PlatformUnavailable):
        estimating.estimate(spec)
    assert back_end.ids(spec) == []


def test_a_graph_that_the_back_end_refuses_is_never_made_a_job(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform
) -> None:
    """A back-end takes any graph when a job is made: it is asked before."""
    with pytest.raises(PlatformRefused, match="nonesuch") as told:
        list(platform.submit(back_end.spec(one("nonesuch", 1))))
    assert told.value.fault_of == "package"
    assert faults.count("POST", JOBS) == 0


@pytest.mark.parametrize(
    "versions",
    [
        [],
        [{"url": "http://127.0.0.1/0.4", "api_version": "0.4.2"}],
        [{"url": "http://127.0.0.1/1.0", "api_version": "1.0.1"}],
    ],
)
def test_versions_that_nobody_speaks(
    faults: Faults, platform: OpenEoPlatform, versions: list[dict[str, Any]], back_end: OpenEoPeer
) -> None:
    faults.change("GET", "/.well-known/openeo", lambda page: {"versions": versions})
    health = platform.check()
    assert not health.available
    assert "1.1 to 1.3" in health.message
    assert platform.check().available
    assert platform.api.base.endswith("/openeo/1.2")
    assert back_end.platform(platform.api.base).check().available  # the address of a version


@pytest.mark.parametrize("change", [lambda graph: graph, None], ids=["as it is", "not json"])
def test_what_is_no_openeo_is_not_available(change: Callable[[Any], Any] | None) -> None:
    with WebPeer() as web:
        web.serve("/", b"<html>" if change is None else b'{"hello": 1}')
        platform = OpenEoPlatform("x", OpenEoPlatform.Settings(url=web.url("")))
        assert not platform.check().available
