"""The pages of processes: their forms run what they show, say what is wrong beside the field, and escape all texts."""

from __future__ import annotations

import json
import re
import shlex
from html import unescape
from typing import Any

from broker.jobs.model import Job
from broker.settings import Uploads
from broker.store import jobs
from tests.api.accounts import ACCESS, browser
from tests.api.conftest import MakeServer
from tests.api.server import Server
from tests.web.site import BROWSER, EVERY_KIND

DEEP = """cwlVersion: v1.2
class: CommandLineTool
id: dive
baseCommand: 'true'
$namespaces: {earthcode: https://earthcode.esa.int/cwl#}
inputs:
  depth: {type: double, label: Depth, earthcode:schema: {x-ogc-unit: m, minimum: 0}}
outputs: []
"""


def send(server: Server, path: str, *fields: tuple[str, str], do: str = "execute", file: Any = None) -> Any:
    """The answer to a form, as a browser sends it."""
    parts: list[Any] = [("csrf", (None, ""))]
    parts += [(name, (None, value)) for name, value in fields]
    parts += ([file] if file else []) + [("do", (None, do))]
    return server.post(path, files=parts, headers=BROWSER, allow_redirects=False)


def job_of(server: Server, answer: Any) -> Job:
    assert answer.status_code == 303, answer.text
    with server.database.read() as tx:
        return jobs.get(tx, re.search(r"/jobs/([\w-]+)", answer.headers["location"])[1])  # type: ignore[index]


def test_the_list_is_searched_and_paged(lone: Server) -> None:
    lone.ready("alpha", "beta")
    lone.deploy(DEEP.replace("id: dive", "id: dive\nlabel: Deep_Water 100%"))
    page = lone.get("/processes", headers=BROWSER).text
    assert all(f"/processes/{name}?f=html" in page for name in ("alpha", "beta", "dive"))
    for words, found in (
        ("deep water", {"dive"}),
        ("DEEP_", {"dive"}),
        ("100%", {"dive"}),
        ("a_p", set()),
        ("alp", {"alpha"}),
    ):
        answer = lone.get("/processes", params={"q": words, "f": "html"}).text
        assert set(re.findall(r"/processes/(\w+)\?f=html\"", answer)) == found, words
        assert {one["id"] for one in lone.get("/processes", params={"q": words}).json()["processes"]} == found
    first = lone.get("/processes?limit=1&q=a&f=html").text
    following = unescape(re.search(r'href="([^"]+)" rel="next"', first)[1])  # type: ignore[index]
    assert "/processes/beta?f=html" in lone.get(following).text
    assert "No process holds all of this" in lone.get("/processes?q=nothing&f=html").text


def test_all_texts_of_a_package_are_escaped(every: Server) -> None:
    for path in ("/processes?f=html", "/processes/every-kind?f=html", "/?f=html"):
        page = every.get(path).text
        assert not re.search(r'<script>|<img src=x|"><b>|<i>kind|javascript:', page), path
    assert "&lt;script&gt;alert(&#34;label&#34;)" in every.get("/processes/every-kind?f=html").text


def test_only_addresses_of_the_web_are_links(lone: Server) -> None:
    metadata = [{"title": "Trap", "role": "license", "href": "javascript:alert(1)"}, {"title": "Mail", "href": 7}]
    package = {"processDescription": {"id": "dive", "metadata": metadata}, "executionUnit": {"value": DEEP}}
    headers = {"Content-Type": "application/ogcapppkg+json"}
    assert lone.post("/processes", data=json.dumps(package), headers=headers).status_code == 201
    page = lone.get("/processes/dive?f=html").text
    assert "<dd>Trap</dd>" in page
    assert "javascript:" not in page


def test_a_form_runs_what_it_shows(every: Server) -> None:
    answer = send(
        every, "/processes/every-kind",
        ("in:text", "</textarea><script>"), ("in:flag", "true"), ("in:count", "6"), ("in:depth", ""),
        ("in:area", "1"), ("in:area", "2"), ("in:area", "3.5"), ("in:area", "4"), ("crs:area", ""),
        ("in:bands", "red"), ("in:bands", "nir"), ("in:names", "a\r\nb c"), ("in:settings", '{"level": 2}'),
        ("in:tables", "https://a.invalid/t.csv"), ("title", "Mine"), ("tags", "one, two"),
        file=("file:scene", ("my scene.tif", b"II*", "image/tiff")),
    )  # fmt: skip
    job = job_of(every, answer)
    inputs = dict(job.request["inputs"])
    upload = inputs.pop("scene")["href"]
    assert inputs == {
        "text": "</textarea><script>", "flag": True, "count": 6, "area": {"bbox": [1, 2, 3.5, 4]},
        "bands": ["red", "nir"], "names": ["a", "b c"], "settings": {"level": 2},
        "tables": [{"href": "https://a.invalid/t.csv"}],
    }  # fmt: skip
    assert (job.title, tuple(job.tags)) == ("Mine", ("one", "two"))
    kept = every.get(upload).json()
    assert (kept["name"], kept["type"], kept["size"], kept["complete"]) == ("my scene.tif", "image/tiff", 3, True)


def test_the_form_with_the_inputs_of_a_job_runs_the_same_again(every: Server) -> None:
    inputs = {
        "text": "</textarea>", "flag": False, "count": 7, "names": ["x", "[y", "two\nlines"], "numbers": [1, 2.5],
        "area": {"bbox": [1, 2, 3, 4], "crs": "http://www.opengis.net/def/crs/OGC/1.3/CRS84"}, "bands": ["nir"],
        "settings": {"level": 1}, "scene": {"href": "https://a.invalid/b.tif"}, "kind": '"><b>', "prose": "a\nb",
    }  # fmt: skip
    first = every.execute("every-kind", inputs, title="One", tags=["a", "b"])
    page = every.get(f"/processes/every-kind?job={first}&f=html").text
    again = job_of(every, send(every, "/processes/every-kind", *filled_in(page)))
    assert again.request["inputs"] == inputs
    assert (again.title, list(again.tags)) == ("One", ["a", "b"])
    assert every.get("/processes/every-kind?job=none&f=html").status_code == 404


def filled_in(page: str) -> list[tuple[str, str]]:
    """What a browser would send of the form of a page that nobody touches."""
    form = page[page.index('id="execute"') : page.index('value="execute"')]
    found = []
    pattern = r"<(input)\b([^>]*)>()|<(textarea|select)\b([^>]*)>\n?(.*?)</(?:textarea|select)>"
    for parts in re.findall(pattern, form, re.S):
        tag, attributes, inside = parts[:3] if parts[0] else parts[3:]
        given = dict(re.findall(r'([\w-]+)="([^"]*)"', attributes))
        if tag == "select":
            chosen = re.search(r'<option(?: value="([^"]*)")? selected>([^<]*)', inside)
            value = (chosen[2] if chosen[1] is None else chosen[1]) if chosen else ""
        else:
            value = inside if tag == "textarea" else given.get("value", "")
        if given.get("type") != "file" and (given.get("type") != "checkbox" or " checked" in attributes):
            found.append((unescape(given["name"]), unescape(value)))
    return found


def test_a_form_sent_twice_makes_one_job(every: Server) -> None:
    fields = (("in:text", "x"), ("in:flag", "true"), ("once", "f00"))
    made = {job_of(every, send(every, "/processes/every-kind", *fields)).id for _ in range(2)}
    assert len(made) == 1
    changed = job_of(every, send(every, "/processes/every-kind", ("in:text", "y"), *fields[1:]))
    assert changed.id not in made


def folder(server: Server, *paths: str, do: str = "execute") -> Any:
    """The form with a folder of these files."""
    parts: list[Any] = [("csrf", (None, "")), ("in:text", (None, "x")), ("in:flag", (None, "true"))]
    parts += [("in:catalog", (None, "")), *(("folder:catalog", (path, b"x", "text/plain")) for path in paths)]
    return server.post("/processes/every-kind", files=[*parts, ("do", (None, do))], headers=BROWSER,
                       allow_redirects=False)  # fmt: skip


def test_a_folder_is_a_directory_with_all_that_is_in_it(every: Server) -> None:
    job = job_of(every, folder(every, "scene/catalog.json", "scene/deep/b4.tif", "scene/.git/HEAD"))
    found = job.request["inputs"]["catalog"]
    top, deep = found["listing"]
    assert (found["class"], found["basename"], top["basename"]) == ("Directory", "scene", "catalog.json")
    assert (deep["class"], deep["basename"], [one["basename"] for one in deep["listing"]]) == (
        "Directory", "deep", ["b4.tif"],
    )  # fmt: skip
    assert every.get(deep["listing"][0]["location"]).json()["name"] == "b4.tif"
    assert len(every.get("/uploads").json()["uploads"]) == 2
    checked = folder(every, "scene/catalog.json", do="check")
    held = re.search(r'name="in:catalog"[^>]+value="([^"]+)"', checked.text)
    assert held is not None, "the folder need not be sent again"
    fields = [("in:text", "x"), ("in:flag", "true"), ("in:catalog", unescape(held[1]))]
    again = job_of(every, send(every, "/processes/every-kind", *fields)).request["inputs"]["catalog"]
    assert [one["basename"] for one in again["listing"]] == ["catalog.json"]
    assert "&#34;class&#34;: &#34;Directory&#34;" in every.get(
        f"/processes/every-kind?job={job.id}", headers=BROWSER
    ).text  # fmt: skip


def test_folders_that_are_none(every: Server) -> None:
    deep = "/".join(["d"] * 40 + ["f.txt"])
    for paths in (("a/b", "a/b/c"), ("/etc/x",), ("flat.txt",), (deep,), ("a/../b/x",)):
        assert folder(every, *paths).status_code in (303, 400), paths
    assert folder(every, "a/b", "a/b/c").status_code == 400
    with every.database.read() as tx:
        listed = [jobs.get(tx, one.id) for one in jobs.page(tx, jobs.Filter(), limit=9)]
    assert all("catalog" not in job.request["inputs"] for job in listed)


def test_what_is_wrong_is_said_beside_the_field_and_nothing_typed_is_lost(every: Server) -> None:
    answer = send(
        every, "/processes/every-kind",
        ("in:text", "kept <b>"), ("in:flag", ""), ("in:count", "six"), ("in:numbers", "1\ntwo"), ("title", "Kept too"),
        file=("file:scene", ("a.tif", b"II*", "image/tiff")),
    )  # fmt: skip
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("text/html")
    for text in ('value="kept &lt;b&gt;"', 'value="six"', "1\ntwo</textarea>", 'value="Kept too"'):
        assert text in answer.text, text
    assert re.search(r'name="in:scene"[^>]+value="http[^"]+/uploads/', answer.text), "the file need not be sent again"
    for number, said in ((5, "This is needed."), (3, "&#39;six&#39; is not a whole number.")):
        assert f'id="input-{number}-error">{said}' in answer.text
    refused = send(every, "/processes/every-kind", ("in:text", "x"), ("in:flag", "true"), ("in:count", "1000"))
    assert refused.status_code == 400
    assert "must be at most 100" in refused.text
    assert not every.get("/jobs").json()["jobs"]


def test_a_file_that_is_not_taken_is_said_beside_its_field(with_settings: MakeServer) -> None:
    server = with_settings(uploads=Uploads(quota_bytes=10))
    server.platform()
    assert server.deploy(EVERY_KIND.read_text()).status_code == 201
    large = ("file:scene", ("a.tif", b"x" * 20, "image/tiff"))
    answer = send(server, "/processes/every-kind", ("in:text", "kept"), ("in:flag", "true"), file=large)
    assert answer.status_code == 400
    assert re.search(r'id="input-\d+-error">[^<]*(bytes|too large)', answer.text), answer.text
    assert 'value="kept"' in answer.text
    assert not server.get("/uploads").json()["uploads"]


def test_a_check_says_what_would_run(every: Server) -> None:
    answer = send(every, "/processes/every-kind", ("in:text", "x"), ("in:flag", "true"), do="check")
    assert (answer.status_code, "These inputs can run" in answer.text) == (200, True)
    assert not every.get("/jobs").json()["jobs"]


def test_the_twin_is_what_the_form_sends(every: Server) -> None:
    fields = (("in:text", "it's"), ("in:flag", "false"), ("in:names", "a\nb"), ("title", "T"))
    page = unescape(send(every, "/processes/every-kind", *fields, do="twin").text)
    assert "<html" not in page
    words = shlex.split(re.search(r"(curl .*)</code>", page, re.S)[1].replace("\\\n", " "))  # type: ignore[index]
    body = json.loads(words[words.index("-d") + 1])
    url = next(word for word in words if word.startswith("http"))
    made = every.post(url, json=body, headers={"Prefer": "respond-async"}).json()["jobID"]
    with every.database.read() as tx:
        by_curl = jobs.get(tx, made)
    by_form = job_of(every, send(every, "/processes/every-kind", *fields))
    assert (by_curl.request["inputs"], by_curl.title) == (by_form.request["inputs"], by_form.title)


def test_units_revisions_and_undeploying(lone: Server) -> None:
    lone.platform()
    lone.deploy(DEEP)
    page = lone.get("/processes/dive?f=html").text
    assert "in m · at least 0" in page
    lone.put("/processes/dive", data=DEEP, headers={"Content-Type": "application/cwl+yaml"})
    old = lone.get("/processes/dive?revision=1&f=html").text
    assert "an older revision" in old
    assert job_of(lone, send(lone, "/processes/dive?revision=1", ("in:depth", "3"))).process_revision == 1
    for sure, status in (("", 400), ("dive", 303)):
        answer = lone.post(
            "/processes/dive", data={"do": "undeploy", "sure": sure}, headers=BROWSER, allow_redirects=False
        )
        assert answer.status_code == status
    assert lone.get("/processes/dive?f=html").status_code == 404
    assert "undeployed" in lone.get("/processes/dive?revision=1&f=html").text


def test_who_may_not_run_sees_no_form_and_forged_forms_do_nothing(with_settings: MakeServer) -> None:
    server = with_settings(access=ACCESS)
    anna = browser(server, "a", "Anna")
    headers = {"Content-Type": "application/cwl+yaml", "X-CSRF-Token": anna.csrf, "Origin": server.url}
    assert anna("POST", "/processes", data=DEEP, headers=headers).status_code == 201
    anna(
        "PUT",
        "/processes/dive/sharing",
        json={"shared": "public"},
        headers=headers | {"Content-Type": "application/json"},
    )
    server.platform()
    reader = browser(server, "r", "Reader", "read")
    page = reader.page("/processes/dive")
    assert "in m" in page
    assert 'id="execute"' not in page
    parts: list[Any] = [("in:depth", (None, "3")), ("do", (None, "execute"))]
    origin = {"Origin": server.url, "Accept": "text/html"}
    token = ("csrf", (None, anna.csrf))
    for sent, given, status in (
        (parts, origin, 403), ([("csrf", (None, "wrong")), *parts], origin, 403), ([*parts, token], origin, 403),
        ([token, *parts], {**origin, "Origin": "https://evil.invalid"}, 403), ([token, *parts], origin, 303),
    ):  # fmt: skip
        assert anna("POST", "/processes/dive", files=sent, headers=given).status_code == status
