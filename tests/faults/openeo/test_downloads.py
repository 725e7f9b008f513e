"""Results are read whole, from links that expire and break off (9 of the list in the reference)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapters.openeo.platform import OpenEoPlatform
from broker.errors import PlatformRefused, PlatformUnavailable
from broker.platform import Attempt
from tests.faults.openeo.looking import ASSET, NDVI, RESULTS, ended, read
from tests.peers.broker import wait_for
from tests.peers.openeo.faults import Faults
from tests.peers.openeo.peer import OpenEoPeer, openeo_peer, submitted
from tests.peers.web import WebPeer

pytestmark = pytest.mark.xdist_group("openeo")


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_link_that_expired_is_asked_for_again(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, computed: Attempt, status: int
) -> None:
    platform.collect(computed)
    before = faults.count("GET", RESULTS)
    faults.answer("GET", ASSET, status)
    assert read(platform, computed)[:4] in (b"II*\0", b"MM\0*")
    assert faults.count("GET", RESULTS) == before + 1


def test_links_that_expire_at_once_are_those_of_now(tmp_path: Path) -> None:
    with openeo_peer(tmp_path, expiration=3) as peer:
        platform = peer.platform()
        attempt = submitted(platform, peer.spec(NDVI))
        ended(platform, attempt)
        platform.collect(attempt)
        [href] = [part.href for part in platform.batch._fresh(str((attempt.handle or {})["id"])).parts if part.href]
        wait_for(lambda: _status(platform, href) >= 400, 10, lambda: "the link lives on")
        assert read(platform, attempt)[:4] in (b"II*\0", b"MM\0*")


def _status(platform: OpenEoPlatform, href: str) -> int:
    with platform.api.egress.request("GET", href, trusted=True) as answer:
        return answer.status


def test_a_download_that_breaks_off_goes_on(faults: Faults, platform: OpenEoPlatform, computed: Attempt) -> None:
    whole = read(platform, computed)
    faults.cut("GET", ASSET, after=100_000)
    assert read(platform, computed) == whole
    assert [one.headers["range"] for one in faults.requests if "range" in one.headers] == ["bytes=100000-"]
    faults.cut("GET", ASSET, after=1000, times=10)
    with pytest.raises(PlatformUnavailable, match="broke off after"):
        read(platform, computed)


def test_a_download_from_the_middle(platform: OpenEoPlatform, computed: Attempt) -> None:
    assert read(platform, computed, offset=200_000) == read(platform, computed)[200_000:]


def elsewhere(faults: Faults, href: str, times: int = 1) -> None:
    """The next results say that the assets lie at another address."""

    def change(results: dict[str, Any]) -> dict[str, Any]:
        assets = {key: asset | {"href": href} for key, asset in results["assets"].items()}
        return results | {"assets": assets, "links": []}

    faults.change("GET", RESULTS, change, times=times)


def test_a_file_that_is_shorter_than_it_should_be_is_not_taken(
    faults: Faults, platform: OpenEoPlatform, computed: Attempt
) -> None:
    with WebPeer() as web:
        elsewhere(faults, web.serve("/openEO.tif", b"too short"), times=10)
        platform.collect(computed)
        with pytest.raises(PlatformUnavailable, match="answered 416"):
            read(platform, computed)


def test_a_file_that_is_empty_once_is_asked_for_again(
    faults: Faults, platform: OpenEoPlatform, computed: Attempt
) -> None:
    def sizeless(results: dict[str, Any]) -> dict[str, Any]:
        asset = {key: value for key, value in results["assets"]["openEO.tif"].items() if key != "file:size"}
        return results | {"assets": {"openEO.tif": asset | {"href": href}}, "links": []}

    with WebPeer() as web:
        href = web.serve("/openEO.tif", b"")
        faults.change("GET", RESULTS, sizeless, times=1)
        platform.collect(computed)
        assert read(platform, computed)[:4] in (b"II*\0", b"MM\0*")
        faults.change("GET", RESULTS, sizeless, times=10)
        platform.collect(computed)
        with pytest.raises(PlatformRefused, match="is empty"):
            read(platform, computed)


def test_other_hosts_get_no_token_and_must_be_allowed(
    back_end: OpenEoPeer, faults: Faults, platform: OpenEoPlatform, computed: Attempt
) -> None:
    whole = read(platform, computed)
    with WebPeer() as web:
        elsewhere(faults, web.serve("/openEO.tif", whole))
        platform.collect(computed)
        assert read(platform, computed) == whole
        assert web.requests
        assert not any("authorization" in one.headers for one in web.requests)
        closed = back_end.platform(faults.url, egress={"schemes": ["http"]})
        elsewhere(faults, web.url("/openEO.tif"))
        closed.collect(computed)
        with pytest.raises(PlatformRefused, match="not a public address"):
            read(closed, computed)
