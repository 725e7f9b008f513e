"""A broker with one of everything, and the list of its pages: from its route table, so that none is forgotten."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext

from broker.access.principal import LOCAL, Scope
from broker.jobs.model import Failure, Fault, Progress, Reason
from broker.store import callbacks
from tests.api.server import Server
from tests.security.people import own_token
from tests.security.test_identity_browser import COOKIE
from tests.security.test_matrix import filled, routes
from tests.security.world import World

SCENE = Path(__file__).parents[2] / "workflows" / "water-bodies" / "data" / "patagonia-sentinel-2"
LOOK = SCENE.parents[1] / "quicklook.png"
LAKES = {
    "type": "Feature",
    "properties": {"name": "Lake", "area": 2.5},
    "geometry": {"type": "Polygon", "coordinates": [[[10, 50], [11, 50], [11, 51], [10, 51], [10, 50]]]},
}
COMPARED = {
    "verdict": "different",
    "sentence": "Of 1 output: 1 different.",
    "outputs": [
        {
            "path": "look.png", "by": "a picture", "verdict": "different", "sentence": "2 of 9 pixels differ.",
            "notes": ["it is called view.png in the second run"], "numbers": {"bands": [{"compared": 9}]},
            "picture": b64encode(LOOK.read_bytes()).decode(), "left": {"sha256": "0", "size": 9},
        },
    ],
}  # fmt: skip
EVERY_KIND = Path(__file__).parent / "data" / "every-kind.cwl"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
# what has no page, and why
NO_PAGES: Mapping[str, str] = {
    "GET /health/live": "for probes",
    "GET /health/ready": "for probes",
    "GET /static/{name:path}": "style sheets, scripts, pictures",
    "GET /login/callback": "on the way back from the issuer, once",
    "GET /login/{issuer}": "on the way to the issuer",
    "GET /me": "for programs: every page shows who one is",
    "GET /projects/{project_id}/members": "on the page of the project",
    "GET /projects/{project_id}/members/{person}": "on the page of the project",
    "GET /projects/{project_id}/invitations": "on the page of the project",
    "GET /targets": "in the form that publishes",
    "GET /targets/{name}/vocabulary": "in the form that publishes",
    "GET /processes/{process_id}/package": "a file",
    "GET /publications/{publication_id}/diff": "a text",
    "GET /publications/{publication_id}/bundle": "a file",
    "GET /jobs/{job_id}/crate": "a file",
    "GET /jobs/{job_id}/files/{path:path}": "a file",
    "GET /jobs/{job_id}/results/{output}": "a file",
}
# pages behind forms and links, by what they begin with
VARIANTS = (
    *(f"/credentials?kind={kind}" for kind in ("s3", "http", "registry", "prr", "github", "openeo")),
    *(f"/platforms?kind={kind}" for kind in ("openeo", "ogcapi")),
    "/platforms?replace=far",
    "/usage?period=soon",
    "/audit?since=yesterday",
    "/audit?limit=1",
    "/uploads?public=true",
    "/jobs?status=failed",
    "/jobs?limit=1",
    "/processes?limit=1",
    "/processes?q=nothing-like-it",
    "/nothing-here",
    "/jobs/nothing",
)


@dataclass
class Site(World):
    """One of everything, all of it of one person: an operator, or the only one there is where nobody is asked."""

    made: dict[str, str] = field(default_factory=dict)
    jobs: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Where nobody is asked who they are: no token may be there."""
        self.owner, self.who = LOCAL.owner, {"owner": {}}
        self._fill()

    def of(self, person: str) -> None:
        """Where people log in: of this operator."""
        headers, _ = own_token(self.server.database, person, *Scope)
        self.owner, self.who = person, {"owner": headers, "operator": headers}
        self.server.site.gate.forget()
        self._fill()

    def _fill(self) -> None:
        self.server.platform()
        self.made = self.things()
        mine = self.who["owner"]
        headers = {"Content-Type": "application/cwl+yaml", **mine}
        answer = self.server.post("/processes", data=EVERY_KIND.read_bytes(), headers=headers)
        assert answer.status_code == 201, answer.text
        whole = self.server.post(
            "/uploads?name=scene.tif", data=b"x" * 5000, headers=mine | {"Content-Type": "image/tiff"}
        )
        assert whole.status_code == 201, whole.text
        waiting, running, failed = (self.job(self.made["process_id"]) for _ in range(3))
        self.server.start(running, Progress(1, 3))
        self.server.log(running, "first line", "second line")
        self.server.child(running, waiting, "ndwi")
        self.server.start(failed)
        self.server.fail(failed, Failure(Fault.PACKAGE, Reason.TOOL_FAILED, "The tool ended with 1.", "say", 1, "no"))
        self.jobs = [self.made["job_id"], waiting, running, failed, self._scene()]

    def _scene(self) -> str:
        """A job whose results are pictures, rasters, shapes and a STAC catalog; its subscriber has given up."""
        job = self.job(self.made["process_id"], subscriber={"successUri": "https://portal.invalid/done"})
        catalog = {"type": "Catalog", "id": "c", "links": [{"rel": "item", "href": "patagonia-sentinel-2.json"}]}
        content = {f"scene/{one.name}": one.read_bytes() for one in SCENE.iterdir()}
        content |= {"scene/catalog.json": json.dumps(catalog).encode(), "look.png": LOOK.read_bytes()}
        content["lakes.geojson"] = json.dumps(LAKES).encode()
        outputs: dict[str, Any] = {
            name: {"class": "File", "location": name, "basename": name} for name in ("look.png", "lakes.geojson")
        }
        outputs["scene"] = {"class": "Directory", "location": "scene", "basename": "scene"}
        self.server.succeed(job, outputs | {"count": 3, "words": ["one", "two"]}, content)
        self.server.compared(job, COMPARED)
        with self.server.database.write() as tx:
            for one in callbacks.claim(tx, 9, 1, origins={}, owners={}, each_origin=1, each_owner=1):
                callbacks.finish(tx, one, callbacks.GIVEN_UP, status=500, message="It answered 500.")
        return job

    def _account_things(self, number: int) -> dict[str, str]:
        if "operator" in self.who:
            return super()._account_things(number)
        self.server.post("/projects", json={"id": "lab", "title": "Lab"})
        invitation = self.server.post("/projects/lab/invitations", json={"note": "welcome"}).json()
        self.server.put(
            "/credentials/data?test=false", json={"kind": "prr", "origin": "https://a.example", "token": "x"}
        )
        return {
            "project_id": "lab",
            "person": LOCAL.owner,
            "kind": "person",
            "subject": LOCAL.owner,
            "code": invitation["code"],
            "invitation_id": invitation["id"],
            "token_id": "none",
            "/credentials": "data",
        }

    def paths(self) -> dict[str, str]:
        """route -> path of everything that can be got."""
        return {route: filled(route.partition(" ")[2], self.made) for route in routes() if route.startswith("GET ")}

    def pages(self, headers: Mapping[str, str]) -> tuple[list[str], list[str]]:
        """The paths of all pages; those that should be one and are none: without a page, and no reason in NO_PAGES."""
        found = [path for route, path in self.paths().items() if route not in NO_PAGES]
        found += [f"/jobs/{job}" for job in self.jobs[1:]] + ["/processes/every-kind", *VARIANTS]
        found += [f"/jobs/{self.jobs[-1]}/{part}" for part in ("results", "comparison")]
        found += [f"/reproductions/new?experiment={one}" for one in (self.jobs[-1], "not-there")]
        found += [f"/jobs/{self.jobs[0]}/publications/new?target=osc", "/publications?state=awaiting-approval"]
        found += [f"/uploads/{one['id']}" for one in self._listed("/uploads", "uploads")]
        found = list(dict.fromkeys(found))
        pages = [path for path in found if is_page(self.server, path, headers)]
        return pages, [path for path in found if path not in pages]

    def _listed(self, path: str, name: str) -> list[dict[str, str]]:
        listed: list[dict[str, str]] = self.server.get(path, headers=self.who["owner"]).json()[name]
        return listed


def is_page(server: Server, path: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser is shown something to read."""
    answer = server.get(path, headers={**BROWSER, **headers})
    return answer.status_code < 500 and answer.headers["content-type"].startswith("text/html")


def cookies(context: BrowserContext, server: Server) -> dict[str, str]:
    """What a browser that is logged in sends; nothing where nobody is."""
    found = [one for one in context.cookies(server.url) if one["name"] == COOKIE]
    return {"Cookie": f"{COOKIE}={found[0]['value']}"} if found else {}
