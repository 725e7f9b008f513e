"""Results drawn in a browser: real rasters and shapes on the map, and files of strangers that try to be more."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.api.conftest import MakeServer
from tests.api.server import Server

pytestmark = pytest.mark.xdist_group("pages")
DATA = Path(__file__).parents[2] / "workflows" / "water-bodies" / "data" / "patagonia-sentinel-2"
PICTURE = DATA.parents[1] / "quicklook.png"
PLACES = {"class": "Directory", "location": "", "basename": "out"}
EVIL = '<img src=x onerror="document.title=1">'
LAKE = {
    "type": "Feature",
    "properties": {"name": f"Lake {EVIL}", "area": 2.5, "deep": {"a": 1}},
    "geometry": {"type": "Polygon", "coordinates": [[[10, 50], [11, 50], [11, 51], [10, 51], [10, 50]]]},
}


class Opened:
    """A page in a browser, what its console said, and what it asked for that is not ours."""

    def __init__(self, chrome: Browser, server: Server) -> None:
        self.page: Page = chrome.new_context(viewport={"width": 1280, "height": 900}).new_page()
        self.page.set_default_timeout(20_000)
        self.said: list[str] = []
        self.away: list[str] = []
        self.page.on("console", lambda told: self.said.append(told.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda one: self._asked(one.url, server.url))
        # what an event handler in an attribute, or a script of a stranger, would set
        self.page.on("dialog", lambda dialog: self.said.append(f"dialog {dialog.message}"))

    def _asked(self, url: str, ours: str) -> None:
        if not url.startswith((ours, "data:")):
            self.away.append(url)

    def drawn(self, url: str) -> None:
        self.page.goto(url)
        self.page.wait_for_selector("#map[data-drawn=all]")

    def clean(self) -> None:
        """Nothing was refused by the policy, nothing failed, nothing was fetched from elsewhere."""
        assert self.said == []
        assert self.away == []

    def told(self) -> list[str]:
        """What stands beside each layer."""
        return [one.inner_text() for one in self.page.locator("#layers > li").all()]


@pytest.fixture
def opened(chrome: Browser, lone: Server) -> Iterator[Opened]:
    lone.ready()
    made = Opened(chrome, lone)
    yield made
    made.page.context.close()


def done(server: Server, content: Mapping[str, bytes | Any], outputs: Mapping[str, Any] | None = None) -> str:
    """The page of a job that left these files."""
    job = server.execute()
    files = {path: one if isinstance(one, bytes) else json.dumps(one).encode() for path, one in content.items()}
    server.succeed(job, outputs or {"places": PLACES}, files)
    return f"{server.url}/jobs/{job}?f=html"


def pixels(page: Page) -> int:
    """How many pixels of the rasters on the map are not see-through."""
    return int(
        page.evaluate("""async () => {
          let count = 0;
          for (const one of document.querySelectorAll('.leaflet-rasters-pane img')) {
            await one.decode();
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [one.naturalWidth, one.naturalHeight];
            const paper = canvas.getContext('2d');
            paper.drawImage(one, 0, 0);
            const data = paper.getImageData(0, 0, canvas.width, canvas.height).data;
            for (let i = 3; i < data.length; i += 4) count += data[i] > 0;
          }
          return count;
        }""")
    )


def frame(page: Page) -> dict[str, float]:
    """Where the first raster lies on the map, in pixels from its corner."""
    outside = page.locator("#map").bounding_box()
    inside = page.locator(".leaflet-rasters-pane img").first.bounding_box()
    assert outside is not None
    assert inside is not None
    where = {"x": inside["x"] - outside["x"], "y": inside["y"] - outside["y"]}
    return where | {"width": inside["width"], "height": inside["height"]}


def test_a_real_scene_is_drawn_where_it_lies(lone: Server, opened: Opened) -> None:
    item = json.loads((DATA / "patagonia-sentinel-2.json").read_bytes())
    catalog = {"type": "Catalog", "id": "c", "links": [{"rel": "item", "href": "item.json"}]}
    content = {"catalog.json": catalog, "item.json": item, "quicklook.png": PICTURE.read_bytes()}
    bands = {f"{band}.tif": (DATA / f"{band}.tif").read_bytes() for band in ("green", "swir16")}
    opened.drawn(done(lone, content | bands))
    page = opened.page
    assert page.locator(".pictures img").evaluate("one => one.decode().then(() => one.naturalWidth)") > 100
    whole = pixels(page)
    assert whole > 200_000
    assert "Sentinel-2 B03 (green), 10 m" in opened.told()[1]
    assert " to " in opened.told()[1]
    near = frame(page)
    assert near["width"] > 0.3 * 808
    # the 20 m band begins in the same corner and reaches twice as far; gdal: west, south, east and north in degrees
    fine, coarse = (-67.663414, -47.863371, -67.622851, -47.844908), (-67.663414, -47.881361, -67.582262, -47.844420)
    page.get_by_label("Show on the map: Sentinel-2 B11").check()
    page.locator(".leaflet-rasters-pane img").nth(1).wait_for()
    page.get_by_label("Show on the map: Sentinel-2 B03").uncheck()
    far = frame(page)
    scale = near["width"] / (fine[2] - fine[0])  # pixels of a degree of longitude
    tall = scale / math.cos(math.radians(47.85))
    assert far["width"] == pytest.approx(scale * (coarse[2] - coarse[0]), abs=3)
    assert far["height"] == pytest.approx(tall * (coarse[3] - coarse[1]), abs=3)
    assert far["x"] == pytest.approx(near["x"], abs=2)
    assert far["y"] == pytest.approx(near["y"] - tall * (coarse[3] - fine[3]), abs=2)
    assert page.locator(".degree").count() > 3
    opened.clean()


def test_texts_of_strangers_stay_texts(lone: Server, opened: Opened) -> None:
    outputs = {"places": PLACES, "lake": LAKE, "said": EVIL}
    content = {f"{EVIL.replace('/', '')}.geojson": {"type": "FeatureCollection", "features": [LAKE]}}
    opened.drawn(done(lone, content, outputs))
    page = opened.page
    page.locator("#map").click()
    popup = page.locator(".leaflet-popup-content")
    popup.wait_for()
    assert f"Lake {EVIL}" in popup.inner_text()
    assert "deep" not in popup.inner_text()
    assert page.locator("img[src=x]").count() == 0
    assert page.title() != "1"
    opened.clean()


POINT = {"type": "Point", "coordinates": [1, 2]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "cannot be drawn"),
        (b"[]", "1 of its features cannot be drawn"),
        (b'{"type":"FeatureCollection","features":[]}', "it is empty"),
        ({"type": "Point", "coordinates": ["1", None]}, "1 of its features cannot be drawn"),
        ({"type": "Point", "coordinates": [600000, 4700020]}, "1 of its features cannot be drawn"),
        ({"type": "__proto__", "coordinates": [1, 2]}, "1 of its features cannot be drawn"),
        ({"type": "MultiPoint", "coordinates": [[1, 2]] * 300_001}, "more than 300000 points"),
        (
            {"type": "FeatureCollection", "features": [{"type": "Feature", "geometry": POINT}] * 20_001},
            "20000 features",
        ),
        (b'{"type":"Polygon","coordinates":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "cannot be drawn"),
    ],
    ids=["broken", "list", "empty", "texts", "metres", "proto", "points", "features", "deep"],
)
def test_shapes_that_are_none(lone: Server, opened: Opened, content: Any, said: str) -> None:
    opened.drawn(done(lone, {"a.geojson": content, "b.geojson": LAKE}))
    first, second = opened.told()
    assert said in first
    assert "cannot" not in second  # one bad file does not spoil the others
    opened.clean()


def test_a_layer_that_grows_under_way_is_not_read_to_its_end(
    lone: Server, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.api.resultviews.LAYER_BYTES", 2**40)  # the page offers it all the same
    opened.drawn(done(lone, {"a.geojson": b"[" + b" " * (9 * 2**20) + b"]"}))
    assert "it is larger than 8 MB" in opened.told()[0]
    opened.clean()


def tiff(width: int, height: int) -> bytes:
    """The head of a TIFF that says it is so large, in one strip, without a place on Earth."""
    entries = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 200), (277, 1), (278, height), (279, 8)]
    body = b"".join(
        tag.to_bytes(2, "little") + b"\x04\0\1\0\0\0" + value.to_bytes(4, "little") for tag, value in entries
    )
    return (b"II*\0\x08\0\0\0" + len(entries).to_bytes(2, "little") + body + bytes(4)).ljust(300, b"\0")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no tiff at all", "cannot be drawn"),
        (tiff(100_000, 100_000), "too large, and has no overviews"),
        (tiff(4, 2), "cannot be drawn"),
        (DATA.joinpath("nir.tif").read_bytes()[:3000], "cannot be drawn"),
    ],
    ids=["text", "huge", "nowhere", "cut"],
)
def test_rasters_that_are_none(lone: Server, opened: Opened, content: bytes, said: str) -> None:
    opened.drawn(done(lone, {"a.tif": content}))
    assert said in opened.told()[0]
    opened.clean()


def test_files_of_strangers_do_not_run_in_our_origin(lone: Server, opened: Opened) -> None:
    script = "<script>document.title = 'mine'; fetch('/jobs')</script>"
    content = {
        "page.html": f"<title>no</title>{script}".encode(),
        "picture.svg": f'<svg xmlns="http://www.w3.org/2000/svg">{script}</svg>'.encode(),
        "fake.png": f"<html>{script}".encode(),
        "script.js": b"document.title = 'mine'",
    }
    url = done(lone, content)
    page = opened.page
    page.goto(url)
    files = url.partition("?")[0] + "/files/"
    for name in content:
        answer = lone.get(files + name)
        assert "sandbox" in answer.headers["content-security-policy"], name
        assert answer.headers["content-disposition"].startswith("attachment"), name
        # a page of ours that was somehow made to load it as a script does not run it either
        took = page.evaluate(
            """address => new Promise(done => {
              const one = document.createElement('script');
              one.onload = () => done('ran'); one.onerror = () => done('refused'); one.src = address;
              document.head.append(one);
            })""",
            files + name,
        )
        assert took == "refused", name
    assert page.title() != "mine"
    assert len([one for one in opened.said if "Content Security Policy" in one]) >= len(content)


def test_tiles_of_the_operator(chrome: Browser, with_settings: MakeServer) -> None:
    server = with_settings(map={"tiles": "http://127.0.0.1:9/{z}/{x}/{y}.png", "attribution": f"Tiles {EVIL}"})
    server.ready()
    opened = Opened(chrome, server)
    picture = {"status": 200, "content_type": "image/png", "body": PICTURE.read_bytes()}
    opened.page.route("http://127.0.0.1:9/**", lambda route: route.fulfill(**picture))
    opened.drawn(done(server, {"a.geojson": LAKE}))
    opened.page.locator(".leaflet-tile-loaded").first.wait_for()
    assert f"Tiles {EVIL}" in opened.page.locator(".leaflet-control-attribution").inner_text()
    assert opened.said == []
    assert all(one.startswith("http://127.0.0.1:9/") for one in opened.away)
    opened.page.context.close()
