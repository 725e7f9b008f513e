"""Pages of jobs over HTTP: the list, one job in each of its states, its log and files, and what their forms do."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from broker.jobs.model import Failure, Fault, Progress, Reason, Step
from broker.settings import S3, Map, StorageSettings
from broker.store import callbacks, files, jobs
from tests.api.accounts import ACCESS, account, browser
from tests.api.conftest import MakeServer
from tests.api.server import Server

EVIL = "<script>alert(1)</script>"
HTML = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
FORM = {**HTML, "Sec-Fetch-Site": "same-origin"}


def shown(server: Server, path: str) -> str:
    """A page, which nothing of a stranger has become a part of."""
    answer = server.get(path, headers=HTML)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert f"script-src {server.url}/static/;" in answer.headers["content-security-policy"]
    assert EVIL not in answer.text
    assert not re.search(r"""<script(?! src="[^"]+" defer></script>)|\son\w+=|\sstyle=""", answer.text)
    return answer.text


def words(page: str) -> str:
    """The text of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def press(server: Server, job: str, do: str, **fields: str) -> str:
    """Send a form of a job's page; where it leads."""
    answer = server.post(f"/jobs/{job}", data={"do": do, **fields}, headers=FORM, allow_redirects=False)
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def test_a_job_and_the_one_that_runs_a_step_of_it_lead_to_each_other(lone: Server) -> None:
    lone.ready("say")
    job, child = lone.execute("say"), lone.execute("say")
    assert "other platforms" not in words(shown(lone, f"/jobs/{job}"))
    lone.child(job, child, EVIL)
    page = shown(lone, f"/jobs/{job}")
    assert f"Steps on other platforms Step Platform State Took Job {EVIL}" in words(page)
    assert f'/jobs/{child}?f=html"' in page
    assert f"A step of {job}" in words(shown(lone, f"/jobs/{child}"))
    assert "Run again" not in shown(lone, f"/jobs/{child}")


def test_the_list(lone: Server) -> None:
    lone.ready("say", "sing")
    assert "There are no jobs yet" in words(shown(lone, "/jobs"))
    first = lone.execute("say", title=EVIL, tags=["north"])
    second = lone.execute("sing")
    lone.fail(second, Failure(Fault.LIMIT, Reason.TIME_LIMIT, "Too long."))
    lone.start(lone.execute("say"), Progress(1, 4))
    page = shown(lone, "/jobs")
    assert html.escape(EVIL) in page
    assert "time-limit" in page
    assert "1 of 4" in page
    assert "broker jobs" in page
    assert 'data-poll="4"' in page
    kept = words(shown(lone, "/jobs?status=failed&processID=sing&tag=&datetime=&minDuration=&maxDuration="))
    assert "sing" in kept
    assert "say " not in kept
    assert "broker jobs --status failed --process sing" in kept
    assert first in shown(lone, "/jobs?tag=north")
    assert "No job fits" in shown(lone, "/jobs?tag=south")
    assert "There are no jobs here" in shown(lone, "/jobs?public=true")
    following = re.search(r'href="([^"]*cursor=[^"]*)" rel="next"', shown(lone, "/jobs?limit=2"))
    assert following is not None
    rest = shown(lone, html.unescape(following[1]))
    assert f"/jobs/{first}" in rest
    assert f"/jobs/{second}" not in rest
    assert lone.get("/jobs?status=nonsense", headers=HTML).status_code == 400


def test_what_the_subscriber_was_told(lone: Server) -> None:
    lone.ready()
    told = {"failedUri": "https://portal.invalid/done?token=t0psecret", "inProgressUri": "https://portal.invalid/on"}
    job = lone.execute(subscriber=told)
    assert "has been told nothing yet" in words(shown(lone, f"/jobs/{job}"))
    lone.fail(job, Failure(Fault.LIMIT, Reason.TIME_LIMIT, "Too long."))
    while True:  # what a notifier does, without the network
        with lone.database.write() as tx:
            taken = callbacks.claim(tx, 9, 1, origins={}, owners={}, each_origin=1, each_owner=1)
            if not taken:
                break
            callbacks.finish(tx, taken[0], callbacks.GIVEN_UP, status=500, message=f"{EVIL} answered 500.")
    page = shown(lone, f"/jobs/{job}")
    assert "t0psecret" not in page
    assert "failure https://portal.invalid/done?… given up 1" in words(page)
    assert html.escape(f"{EVIL} answered 500.") in page
    assert press(lone, job, "repeat-callbacks") == f"{lone.url}/jobs/{job}?f=html"
    page = shown(lone, f"/jobs/{job}")
    assert ("given up" in words(page), "being sent" in words(page)) == (False, True)
    there = lone.get(f"/jobs/{job}/callbacks", headers=HTML, allow_redirects=False)
    assert there.headers["location"] == f"{lone.url}/jobs/{job}?f=html#callbacks"
    assert "Callbacks" not in words(shown(lone, f"/jobs/{lone.execute()}"))


def test_json_stays_what_programs_get(lone: Server) -> None:
    lone.ready()
    job = lone.execute()
    for path in ("/jobs", f"/jobs/{job}", f"/jobs/{job}/logs", f"/jobs/{job}/files"):
        for accept in ("*/*", "application/json"):
            assert lone.get(path, headers={"Accept": accept}).headers["content-type"] == "application/json"
    assert f'href="{lone.url}/jobs/{job}?f=json"' in shown(lone, f"/jobs/{job}")


def test_a_job_that_waits_and_one_that_runs(lone: Server) -> None:
    lone.ready()
    before = lone.execute()
    job = lone.execute(title="Ice & snow", inputs={"text": EVIL, "count": 7})
    page = words(shown(lone, f"/jobs/{job}"))
    assert "Ice & snow" in page
    assert "accepted number 2 in line" in page
    assert "text <script>alert(1)</script> count 7" in page
    lone.start(before, Progress(1, 4))
    with lone.database.write() as tx:
        step = Step(
            "crop", "running", 1_800_000_000.0, None, None, "img:1", None, ("crop", f"--out={EVIL}"), log="crop"
        )
        files.put_steps(tx, before, 1, [step])
    lone.log(before, f"line {EVIL}\n", "\x1b[31mred\x1b[0m\n", stream="crop")
    page = shown(lone, f"/jobs/{before}")
    assert '<progress max="100" value="25"' in page
    assert "\x1b" not in page
    for part in ("crop", "img:1", f"line {EVIL}", "red", "Dismiss the job", "running"):
        assert part in words(page)
    assert "Run again" not in page


def test_a_failure_says_whose_it_is_and_what_to_do(lone: Server) -> None:
    lone.ready()
    job = lone.execute()
    message = f"Step 'crop' failed with exit code 3: {EVIL}"
    lone.fail(job, Failure(Fault.PACKAGE, Reason.TOOL_FAILED, message, "crop", 3, f"ERROR: no band 8 {EVIL}"))
    page = words(shown(lone, f"/jobs/{job}"))
    assert message in page
    assert "Whose fault the package's (tool-failed)" in page
    assert "Step crop, exit code 3" in page
    assert "What to do The log below is what the program said last." in page
    assert "ERROR: no band 8" in page
    answer = lone.get(f"/jobs/{job}/results", headers=HTML, allow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{lone.url}/jobs/{job}?f=html#state")
    assert lone.get(f"/jobs/{job}/results").status_code == 422


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_something_to_do(still: Server, reason: Reason) -> None:
    job = still.execute()
    still.fail(job, Failure(Fault.PLATFORM, reason, "It went wrong."))
    assert re.search(r"What to do \w+ [^.]+\.", words(shown(still, f"/jobs/{job}")))


def test_dismiss_and_run_again(lone: Server) -> None:
    lone.ready()
    job = lone.execute(inputs={"text": "same", "count": 3}, title="Once more", tags=["a"], outputs={"said": {}})
    assert press(lone, job, "dismiss") == f"{lone.url}/jobs/{job}?f=html"
    page = shown(lone, f"/jobs/{job}")
    assert "Being dismissed" in page
    assert "Dismiss the job" not in page
    done = lone.execute(inputs={"text": "same", "count": 3}, title="Once more", tags=["a"], outputs={"said": {}})
    lone.fail(done, Failure(Fault.PACKAGE, Reason.TOOL_FAILED, "No."))
    assert press(lone, done, "dismiss").endswith(f"/jobs/{done}?f=html")  # it has ended: the page says how
    lone.deploy(id="say")  # the process may have gone on: the job runs what it ran
    again = press(lone, done, "again").rpartition("/")[2].partition("?")[0]
    assert again not in (job, done)
    first, second = lone.job_row(done), lone.job_row(again)
    same = ("process_id", "process_revision", "title", "tags", "request", "job_order")
    assert [getattr(first, name) for name in same] == [getattr(second, name) for name in same]
    for wrong in ("", "explode"):
        assert lone.post(f"/jobs/{job}", data={"do": wrong}, headers=FORM).status_code == 400
    assert lone.post(f"/jobs/{job}", json={"do": "dismiss"}).status_code == 415


def test_results_are_shown_and_deleted(lone: Server) -> None:
    lone.ready()
    job = lone.execute()
    outputs = {
        "said": {"class": "File", "location": f"a {EVIL.replace('/', '')}.txt", "basename": f"a {EVIL}.txt"},
        "number": 7,
        "words": EVIL,
        "places": {"class": "Directory", "location": "places", "basename": "places"},
        "many": {"deep": [1, {"x": EVIL}]},
        "none": None,
    }
    content = {f"a {EVIL.replace('/', '')}.txt": b"text", "places/a.csv": b"1,2", "places/b/c.csv": b"3"}
    lone.succeed(job, outputs, content)
    for path in (f"/jobs/{job}", f"/jobs/{job}/results"):
        page = words(shown(lone, path))
        for part in ("number 7", f"a {EVIL}.txt", "directory of 2 files", "4 bytes", '"x": "<script>', "none none"):
            assert part in page, (path, part)
    listing = shown(lone, f"/jobs/{job}/files/places/")
    assert "b/c.csv" in listing
    assert "3 files" in shown(lone, f"/jobs/{job}/files")
    assert lone.get(f"/jobs/{job}/files/nowhere/", headers=HTML).status_code == 404
    assert lone.post(f"/jobs/{job}", data={"do": "delete-results"}, headers=FORM).status_code == 400
    press(lone, job, "delete-results", sure="yes")
    assert "The results were deleted" in shown(lone, f"/jobs/{job}")
    assert lone.get(f"/jobs/{job}/results", headers=HTML).status_code == 410
    assert lone.get(f"/jobs/{job}/files", headers=HTML).status_code == 410


def test_many_files_are_paged(lone: Server) -> None:
    lone.ready()
    job = lone.execute()
    names = [f"tile-{number:03}.bin" for number in range(230)]
    lone.succeed(job, {"places": {"class": "Directory", "location": "", "basename": "out"}}, dict.fromkeys(names, b""))
    first = shown(lone, f"/jobs/{job}/files")
    assert "tile-199.bin" in first
    assert "tile-200.bin" not in first
    following = re.search(r'href="([^"]*after=[^"]*)" rel="next"', first)
    assert following is not None
    assert "tile-229.bin" in shown(lone, html.unescape(following[1]))


def catalog(items: int = 1) -> dict[str, bytes]:
    """A STAC catalog as a stranger may write it: links that lead out, a script for an address, broken items."""
    links = [{"rel": "item", "href": f"./item-{number}.json"} for number in range(items)]
    links += [
        {"rel": "item", "href": href} for href in ("../../etc/passwd", "broken.json", "catalog.json", "http://x/y")
    ]
    links += [{"rel": "child", "href": 7}, {"rel": "item"}]  # type: ignore[dict-item]
    feature = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": EVIL,
        "geometry": {"type": "Point", "coordinates": [1, 2]},
        "properties": {"title": f"Lake {EVIL}", "datetime": "2026-01-01T00:00:00Z"},
        "assets": {
            "here": {"href": "./lake.txt", "title": "The lake", "type": "text/plain"},
            "there": {"href": "https://elsewhere.invalid/a.tif"},
            "script": {"href": "javascript:alert(1)"},
            "out": {"href": "../../../secret"},
            "odd": 7,
        },
    }
    whole = {"type": "Catalog", "id": "c", "title": f"Lakes {EVIL}", "description": "All of them.", "links": links}
    made = {"out/catalog.json": json.dumps(whole).encode(), "out/broken.json": b"{", "out/lake.txt": b"deep"}
    return made | {f"out/item-{number}.json": json.dumps(feature).encode() for number in range(items)}


def test_a_catalog_is_listed_and_believed_nothing(lone: Server) -> None:
    lone.ready()
    job = lone.execute()
    lone.succeed(job, {"places": {"class": "Directory", "location": "out", "basename": "out"}}, catalog())
    page = shown(lone, f"/jobs/{job}/results")
    text = words(page)
    for part in (f"Lakes {EVIL}", f"Lake {EVIL}", "2026-01-01T00:00:00Z", "The lake", "not among the results"):
        assert part in text
    assert "Could not be read: out/broken.json" in text
    assert "javascript:" not in page
    assert 'href="https://elsewhere.invalid/a.tif" rel="noopener noreferrer nofollow external"' in page
    assert f'href="{lone.url}/jobs/{job}/files/out/lake.txt"' in page
    assert f'data-geojson="{lone.url}/jobs/{job}/files/out/item-0.json"' in page


def test_a_large_catalog_is_cut(lone: Server) -> None:
    lone.ready()
    job = lone.execute()
    lone.succeed(job, {"places": {"class": "Directory", "location": "out", "basename": "out"}}, catalog(80))
    assert "There is more in this catalog than is shown here" in shown(lone, f"/jobs/{job}/results")


def test_large_pictures_and_layers_are_links(lone: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.api.resultviews.PICTURE_BYTES", 10)
    monkeypatch.setattr("broker.api.resultviews.LAYER_BYTES", 10)
    lone.ready()
    job = lone.execute()
    content = {"small.png": b"1", "large.png": b"1" * 11, "large.geojson": b"1" * 11, "evil.svg": b"<svg/>"}
    lone.succeed(job, {}, content)
    page = shown(lone, f"/jobs/{job}/results")
    assert re.findall(r'<img src="[^"]*/files/([^"]+)"', page) == ["small.png"]
    assert "large.png (too large to draw)" in page
    assert "data-geojson" not in page


def test_the_log_by_pages(lone: Server) -> None:
    lone.ready()
    job = lone.execute()
    lone.log(job, *(f"line {number} {EVIL}\n" for number in range(600)))
    lone.log(job, "cut\n", stream="crop")
    first = shown(lone, f"/jobs/{job}/logs")
    assert "line 499 " in first
    assert "line 500 " not in first
    following = re.search(r'href="([^"]*after=[^"]*)" rel="next"', first)
    assert following is not None
    rest = shown(lone, html.unescape(following[1]))
    assert "line 599 " in rest
    assert "cut" in rest
    only = shown(lone, f"/jobs/{job}/logs?step=crop")
    assert "cut" in only
    assert "line 1 " not in only
    assert "line 599 " in shown(lone, f"/jobs/{job}")
    for part in ("steps", "events", "inputs"):
        answer = lone.get(f"/jobs/{job}/{part}", headers=HTML, allow_redirects=False)
        assert (answer.status_code, "#" in answer.headers["location"]) == (303, True)


def test_others_see_what_is_shared_and_change_nothing(with_settings: MakeServer) -> None:
    server = with_settings(access=ACCESS)
    anna, bert = browser(server, "a", "Anna"), browser(server, "b", "Bert")
    server.session.headers.update(anna.headers | {"Origin": server.url, "X-CSRF-Token": anna.csrf})
    server.ready()
    job = server.execute()
    server.fail(job, Failure(Fault.PACKAGE, Reason.TOOL_FAILED, "No."))
    assert bert("GET", f"/jobs/{job}", headers=HTML).status_code == 404
    assert bert.form(f"/jobs/{job}", do="dismiss").status_code == 404
    assert bert.form(f"/jobs/{job}", do="again").status_code == 404
    assert anna(
        "PUT",
        f"/jobs/{job}/sharing",
        json={"shared": "public"},
        headers={"Origin": server.url, "X-CSRF-Token": anna.csrf},
    ).ok
    page = bert.page(f"/jobs/{job}")
    assert "Owner" in page
    assert "Delete the results" not in page
    assert bert.form(f"/jobs/{job}", do="delete-results", sure="yes").status_code == 403
    assert job in bert.page("/jobs?public=true")
    assert job not in bert.page("/jobs")
    # a form of another site, or without the token of the session
    headers = {"Origin": "https://evil.invalid", "Sec-Fetch-Site": "cross-site"}
    assert anna("POST", f"/jobs/{job}", data={"csrf": anna.csrf, "do": "again"}, headers=headers).status_code == 403
    assert anna("POST", f"/jobs/{job}", data={"do": "again"}, headers={"Origin": server.url}).status_code == 403
    reader = account(server, anna.id, "read")
    assert "Run again" not in reader.page(f"/jobs/{job}")
    with server.database.read() as tx:
        assert len(jobs.page(tx, jobs.Filter(), limit=10)) == 1


def test_the_policy_opens_for_the_operator_s_places_only(with_settings: MakeServer, tmp_path: Path) -> None:
    server = with_settings(map=Map(tiles="https://tiles.example.org/{z}/{x}/{y}.png", attribution="(c) <b>them</b>"))
    server.ready()
    job = server.execute()
    server.succeed(job, {}, {"a.geojson": b"{}"})
    answer = server.get(f"/jobs/{job}/results", headers=HTML)
    policy = answer.headers["content-security-policy"]
    assert "img-src 'self' data: https://tiles.example.org;" in policy
    assert "connect-src 'self';" in policy
    assert html.escape("(c) <b>them</b>") in answer.text
    assert "tiles.example.org" not in server.get("/jobs", headers=HTML).headers["content-security-policy"]


def test_the_policy_opens_for_the_operator_s_bucket() -> None:
    from broker.api import resultpages
    from broker.settings import Settings

    class Site:
        settings = Settings(storage=StorageSettings(s3=S3(bucket="b", public_endpoint="https://s3.example.org/x")))

    assert resultpages.drawing(Site())["data"] == ["https://s3.example.org"]  # type: ignore[arg-type]


@pytest.mark.parametrize("tiles", ["https://a;script-src *", "javascript:1", "https://a b", "https://a, https://b"])
def test_tiles_that_would_change_the_policy_are_refused(tiles: str) -> None:
    with pytest.raises(ValueError, match="tiles"):
        Map(tiles=tiles)
