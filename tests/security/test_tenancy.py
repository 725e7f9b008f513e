"""Two people, two projects: what is the one's does not exist for the other, on any route, in any list, as any input."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute

from broker.api.app import CLASSES
from broker.store.database import new_id
from tests.api.accounts import ALL, Account, account
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem
from tests.api.server import TOOL, Server
from tests.peers.osc import offered
from tests.unit.results.samples import a_request

MADE_UP = "00000000-0000-7000-8000-000000000000"
# what a route's parameter stands for; a new parameter has to be named here, or the test fails
OWN = (
    "process_id",
    "job_id",
    "upload_id",
    "project_id",
    "invitation_id",
    "code",
    "token_id",
    "person",
    "publication_id",
)
BESIDE: dict[str, str] = {"output": "said", "path": "said.txt"}  # below an id of those
NOT_OF_ANYBODY = {
    "/platforms/{name}": "platforms are everybody's",
    "/platforms/{name}/paused": "operators only",
    "/platforms/{name}/check": "operators only",
    "/targets/{name}/vocabulary": "what a catalog knows is everybody's",
    "/notices/{job_id}/{token}": "platforms tell at an address that nobody else knows; the answer is always the same",
    "/login/{issuer}": "who can be logged in with is told before anybody is known",
    "/budgets/{project}/{platform}": "operators only",
    "/quotas/{kind}/{subject}": "operators only, whoever is asked about",
    "/credentials/{name}": "a name is looked for among one's own credentials only",
    "/credentials/{name}/test": "the same",
}
EXECUTION = {"inputs": {"text": "x"}}
CWL = {"Content-Type": "application/cwl+yaml"}
# what a request needs to be right in all but whose it is
REQUESTS: dict[str, dict[str, Any]] = {
    "execute": {"json": EXECUTION, "headers": {"Prefer": "respond-async"}},
    "checkExecution": {"json": EXECUTION},
    "estimate": {"json": EXECUTION},
    "replace": {"data": TOOL.format(id="secret-process"), "headers": CWL},
    "uploadAppend": {"data": b"more", "headers": {"Upload-Offset": "3"}},
    "projectRename": {"json": {"title": "mine now"}},
    "projectForm": {"data": {"do": "rename", "title": "mine now"}},
    "jobForm": {"data": {"do": "dismiss"}},
    "revokeTokenForm": {"data": {"do": "revoke"}},
    "uploadForm": {"data": {"do": "delete"}},
    "processShareForm": {"data": {"with": "project:lair"}},
    "comparisonForm": {"data": {"do": "withdraw"}},
    "jobPublish": {"json": {"target": "osc"}},
    "jobPublicationBundle": {"json": {"target": "osc"}},
    "publicationReject": {"json": {"reason": "no"}},
    "publicationForm": {"data": {"do": "withdraw"}},
    "publishForm": {"data": {"do": "publish", "target.0": "osc"}},
    "compare": {"json": {"with": {"outputs": {}}}},
    "jobShareForm": {"data": {"with": "project:lair"}},
    "uploadShareForm": {"data": {"with": "project:lair"}},
    "processForm": {"data": {"do": "undeploy", "sure": "secret-process"}},
    "projectPart": {"json": {"part": "maintainer"}},
    "projectPublishingForm": {"data": {"licence": "MIT"}},
    "setProjectPublishing": {"json": {"request": {"licence": "MIT"}}},
    "projectInvite": {"json": {"part": "maintainer"}},
    "processShare": {"json": {"shared": "project", "project": "lair"}},
    "jobShare": {"json": {"shared": "project", "project": "lair"}},
    "uploadShare": {"json": {"shared": "project", "project": "lair"}},
}
LEAVES_NO_ROW = {"invitation", "invitationAccept"}  # whoever has the code may use it: it is not of one person


@dataclass
class Two:
    """Alice, to whom all belongs; bob, who has a project of his own; and what there is of alice's."""

    server: Server
    alice: Account
    bob: Account
    things: dict[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, server: Server) -> Two:
        two = cls(server, account(server, "alice", *ALL, "publish"), account(server, "bob", *ALL, "publish"))
        two._fill()
        return two

    def _fill(self) -> None:
        server, alice = self.server, self.alice
        server.platform()
        body = TOOL.format(id="secret-process")
        assert alice("POST", "/processes", data=body, headers=CWL).status_code == 201
        assert alice("POST", "/projects", json={"id": "secret-project"}).status_code == 201
        assert self.bob("POST", "/projects", json={"id": "lair"}).status_code == 201
        path = "/processes/secret-process/execution"
        made = alice("POST", path, json=EXECUTION, headers={"Prefer": "respond-async", "Idempotency-Key": "one"})
        job = made.json()["jobID"]
        server.succeed(job, {"said": {"class": "File", "location": "said.txt"}}, {"said.txt": b"a secret"})
        server.compared(job)
        server.log(job, "a secret line")
        upload = alice("POST", "/uploads", headers={"Upload-Length": "7"}).json()["id"]
        alice("PATCH", f"/uploads/{upload}", data=b"sec", headers={"Upload-Offset": "0"})
        invitation = alice("POST", "/projects/secret-project/invitations", json={"note": "a secret"}).json()
        self.things = {
            "process_id": "secret-process",
            "job_id": job,
            "upload_id": upload,
            "project_id": "secret-project",
            "person": "alice",
            "invitation_id": invitation["id"],
            "code": invitation["code"],
            "token_id": self._token(),
            "publication_id": server.published(job, "secret-project"),
        }

    def _token(self) -> str:
        made = self.alice("POST", "/tokens", json={"name": "secret-token", "scopes": ["read"]})
        assert made.status_code == 201, made.text
        return str(made.json()["id"])

    def state(self) -> dict[str, Any]:
        """All that alice sees of what is hers."""
        paths = ("/jobs/{job_id}", "/uploads/{upload_id}", "/processes/secret-process", "/projects/secret-project")
        shown = {path: self.alice("GET", path.format(**self.things)).json() for path in paths}
        for part in ("members", "invitations"):
            shown[part] = self.alice("GET", f"/projects/secret-project/{part}").json()
        return shown


@pytest.fixture
def two(with_settings: MakeServer, tmp_path: Path) -> Two:
    return Two.at(with_settings(publish=offered(tmp_path / "catalog")))


def routes() -> list[APIRoute]:
    return [route for part in CLASSES for route in part.router.routes if isinstance(route, APIRoute)]


def with_ids() -> Iterator[tuple[str, APIRoute]]:
    """(method, route) of every route with an id in its path that could be somebody's."""
    for route in routes():
        if route.path in NOT_OF_ANYBODY or not route.param_convertors:
            continue
        for method in sorted(route.methods or ()):
            yield method, route


def filled(route: APIRoute, things: dict[str, str]) -> str:
    path = route.path
    for name in route.param_convertors:
        assert name in OWN or name in BESIDE, f"{route.path}: say in this test what {name} stands for"
        value = things.get(name, BESIDE.get(name, ""))
        path = re.sub(r"\{" + name + r"(:path)?\}", value, path)
    return path


def sent(who: Account, method: str, route: APIRoute, path: str) -> Any:
    return who(method, path, **REQUESTS.get(route.name, {}))


def test_what_is_somebody_elses_is_as_if_it_were_not_there(two: Two) -> None:
    """404 on every route with an id, and the same answer, but for the id, as for an id that nobody has."""
    nothing = {name: MADE_UP for name in OWN} | {"process_id": "made-up", "project_id": "made-up", "person": "alice"}
    before = two.state()
    seen = 0
    for method, route in with_ids():
        if route.name in LEAVES_NO_ROW:
            continue
        theirs, none = filled(route, two.things), filled(route, nothing)
        answer, other = sent(two.bob, method, route, theirs), sent(two.bob, method, route, none)
        assert answer.status_code == 404, (method, theirs, answer.text)
        assert _without_ids(answer.text, two.things) == _without_ids(other.text, nothing), (method, theirs)
        assert "secret" not in _without_ids(answer.text, two.things)
        seen += 1
    assert seen > 30
    assert two.state() == before


def _without_ids(text: str, things: dict[str, str]) -> str:
    for value in sorted(things.values(), key=len, reverse=True):
        text = text.replace(value, "ID")
    return text


def test_its_owner_meets_all_of_it(two: Two) -> None:
    """The requests above are refused for whose they are, and for nothing else."""
    for method, route in with_ids():
        if method in ("GET", "HEAD"):
            answer = sent(two.alice, method, route, filled(route, two.things))
            assert answer.status_code == 200, (method, route.path, answer.text)
    for name in ("projectRename", "projectForm", "projectInvite", "uploadAppend", "replace", "execute"):
        [(method, route)] = [(one, route) for one, route in with_ids() if route.name == name]
        answer = sent(two.alice, method, route, filled(route, two.things))
        assert answer.status_code < 400, (route.path, answer.text)


def test_no_list_shows_what_is_somebody_elses(two: Two) -> None:
    looked = 0
    for route in routes():
        if "GET" not in (route.methods or ()) or route.param_convertors or route.path == "/login/callback":
            continue
        for query in ("", "?public=true", "?limit=1000", "?all=true"):
            text = two.bob("GET", route.path + query).text
            looked += 1
            for name, value in two.things.items():
                if name != "person":
                    assert value not in text, (route.path, query, name)
    assert looked > 30
    for path in ("/jobs", "/uploads", "/processes"):
        valid_problem(two.bob("GET", f"{path}?project=secret-project"), 404)
        valid_problem(two.bob("GET", f"{path}?project=made-up"), 404)
        valid_problem(two.bob("GET", f"{path}?owner=alice"), 403)


def test_what_is_somebody_elses_is_no_input(two: Two) -> None:
    """Neither uploads, by whatever name, nor files of jobs; nor does a key of somebody else give their job."""
    upload = two.alice("POST", "/uploads?name=x.txt", data=b"a secret", headers={"Content-Type": "text/plain"}).json()
    two.bob("POST", "/processes", data=TOOL.format(id="mine"), headers=CWL)
    path = "/processes/mine/execution"
    hrefs = [upload["href"], f"/uploads/{upload['id']}", f"{upload['href']}/content", f"upload:{upload['id']}"]
    hrefs += [f"http://localhost:{two.server.site.settings.api.port}/uploads/{upload['id']}"]
    for href in hrefs:
        for where in ("execution", "check"):
            body = {"inputs": {"text": "x", "scene": {"href": href}}}
            answer = two.bob("POST", f"/processes/mine/{where}", json=body, headers={"Prefer": "respond-async"})
            assert answer.status_code in (400, 404), (href, where, answer.text)
            assert "a secret" not in answer.text
    # a link to a file of a job is a link like any other: it is fetched without anybody's rights, from public addresses
    href = f"{two.server.url}/jobs/{two.things['job_id']}/files/said.txt"
    checked = two.bob("POST", "/processes/mine/check", json={"inputs": {"text": "x", "scene": {"href": href}}}).json()
    assert [one["reachable"] for one in checked["links"]] == [False]
    keyed = {"Prefer": "respond-async", "Idempotency-Key": "one"}
    mine = two.bob("POST", path, json=EXECUTION, headers=keyed)
    assert mine.status_code == 201
    assert mine.json()["jobID"] != two.things["job_id"]


def test_what_is_somebody_elses_is_named_in_no_body(two: Two) -> None:
    """Jobs to compare with, to publish together, to run again, processes and earlier publications: as if not there."""
    two.bob("POST", "/processes", data=TOOL.format(id="mine"), headers=CWL)
    made = two.bob("POST", "/processes/mine/execution", json=EXECUTION, headers={"Prefer": "respond-async"})
    job, theirs = made.json()["jobID"], two.things
    two.server.succeed(job, {"said": {"class": "File", "location": "said.txt"}}, {"said.txt": b"mine"})
    before = two.state()
    for path, body in (
        (f"/jobs/{job}/comparisons", {"with": theirs["job_id"]}),
        ("/publications", {"target": "osc", **a_request(), "jobs": [job, theirs["job_id"]]}),
        ("/publications", {"target": "osc", **a_request(), "jobs": [theirs["job_id"]]}),
        ("/publications", {"target": "osc", **a_request(), "process": "secret-process"}),
        (f"/jobs/{job}/publications", {"target": "osc", **a_request(), "previous": theirs["publication_id"]}),
        ("/reproductions", {"experiment": theirs["job_id"]}),
        ("/jobs", {"experiment": theirs["job_id"]}),
    ):
        for query in ("", "?check=true"):
            answer = two.bob("POST", path + query, json=body)
            ids = [one for one in theirs.values() if one in json.dumps(body)]
            text = _without_ids(answer.text, dict(enumerate(ids)))  # type: ignore[arg-type]
            told = answer.status_code == 200 and not answer.json()["ok"]
            assert answer.status_code in (400, 404) or told, (path, query, body, text)
            assert "secret" not in text, (path, query, text)
    assert two.state() == before


def test_names_are_not_a_way_to_things(two: Two) -> None:
    """A project, a process or a key of a name that is taken gives nothing away but that it is taken."""
    taken = two.bob("POST", "/projects", json={"id": "secret-project"})
    assert "alice" not in valid_problem(taken, 409)["detail"]
    valid_problem(two.bob("POST", "/projects", json={"id": "alice"}), 409)
    deployed = two.bob("POST", "/processes", data=TOOL.format(id="secret-process"), headers=CWL)
    valid_problem(deployed, 409)
    for header in ({"Acting-Project": "secret-project"}, {"Acting-Project": "alice"}, {"Acting-For": "alice"}):
        valid_problem(two.bob("GET", "/jobs", headers=header), 403)


def test_a_viewer_sees_what_is_shared_and_changes_nothing(two: Two) -> None:
    code = two.alice("POST", "/projects/secret-project/invitations", json={"part": "viewer"}).json()["code"]
    assert two.bob("POST", f"/invitations/{code}").status_code == 200
    share = {"json": {"shared": "project", "project": "secret-project"}}
    for path in ("/processes/secret-process", f"/jobs/{two.things['job_id']}", f"/uploads/{two.things['upload_id']}"):
        assert two.alice("PUT", f"{path}/sharing", **share).json()["project"] == "secret-project"
    before = two.state()
    changed = 0
    for method, route in with_ids():
        path = filled(route, two.things)
        if route.name in LEAVES_NO_ROW or "{token_id}" in route.path:
            continue
        answer = sent(two.bob, method, route, path)
        if method in ("GET", "HEAD"):
            assert answer.status_code == (403 if route.name in ("projectInvitations", "publishPage") else 200), (
                path,
                answer.text,
            )
        elif route.name in (
            "execute",
            "checkExecution",
            "estimate",
        ):  # seeing a process is executing it, in one's own name
            assert answer.status_code < 300, answer.text
        else:
            assert answer.status_code == 403, (method, path, answer.text)
            changed += 1
    assert changed > 8
    assert two.state() == before
    listed = two.bob("GET", "/jobs?project=secret-project").json()["jobs"]
    assert [one["jobID"] for one in listed] == [two.things["job_id"]]
    [upload] = two.bob("GET", "/uploads?project=secret-project").json()["uploads"]
    assert (upload["shared"], upload["sharedWith"]) == ("project", "secret-project")
    shared = two.bob("GET", "/processes?project=secret-project").json()["processes"]
    assert [one["id"] for one in shared] == ["secret-process"]
    assert two.things["job_id"] not in two.bob("GET", "/jobs").text, "one's own list is one's own"


def test_work_in_a_projects_name(two: Two) -> None:
    """A member's job runs for the project, and is shared with it at once where the request says so."""
    code = two.alice("POST", "/projects/secret-project/invitations", json={"part": "member"}).json()["code"]
    two.bob("POST", f"/invitations/{code}")
    two.bob("POST", "/processes", data=TOOL.format(id="mine"), headers=CWL)
    headers = {"Prefer": "respond-async", "Acting-Project": "secret-project"}
    path = "/processes/mine/execution"
    keyed = {**headers, "Idempotency-Key": "two"}
    private = two.bob("POST", path, json=EXECUTION, headers=keyed).json()
    mine = two.bob("POST", path, json=EXECUTION, headers={"Prefer": "respond-async", "Idempotency-Key": "two"})
    valid_problem(mine, 422)  # for another project, it is another request
    assert (private["project"], private["shared"]) == ("secret-project", "private")
    ours = two.bob("POST", path, json={**EXECUTION, "shared": "project"}, headers=headers).json()
    assert (ours["project"], ours["shared"], ours["sharedWith"]) == ("secret-project", "project", "secret-project")
    valid_problem(two.alice("GET", f"/jobs/{private['jobID']}"), 404)
    assert two.alice("GET", f"/jobs/{ours['jobID']}").status_code == 200
    alone = two.bob("POST", path, json={**EXECUTION, "shared": "project"}, headers={"Prefer": "respond-async"})
    assert valid_problem(alone, 400)["errors"][0]["pointer"] == "/shared"
    valid_problem(two.bob("POST", path, json={**EXECUTION, "shared": "public"}, headers=headers), 400)
    assert two.alice("DELETE", f"/jobs/{ours['jobID']}").status_code == 200, "its maintainer may stop it"
    assert two.alice("DELETE", "/projects/secret-project/members/bob").status_code == 204
    valid_problem(two.bob("POST", path, json=EXECUTION, headers=headers), 403)


def test_operators_see_everything(two: Two) -> None:
    operator = account(two.server, "root", *ALL, "publish", "admin")
    for method, route in with_ids():
        if method == "GET" and "{token_id}" not in route.path:
            assert sent(operator, method, route, filled(route, two.things)).status_code == 200, route.path
    assert two.things["job_id"] in operator("GET", "/jobs").text
    assert two.things["job_id"] in operator("GET", "/jobs?owner=alice").text
    assert operator("GET", "/jobs?owner=bob").json()["jobs"] == []
    assert two.things["upload_id"] in operator("GET", "/uploads?owner=alice").text
    assert operator("GET", f"/jobs/{new_id()}").status_code == 404
