"""The page that deploys: each way to give a package, the diagnosis in place, replacing, and what it says otherwise."""

from __future__ import annotations

import io
import json
import re
import shlex
import zipfile
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from broker.settings import EgressSettings
from tests.api.accounts import ACCESS, browser
from tests.api.conftest import MakeServer
from tests.api.server import TOOL, Server
from tests.peers.git import GitPeer
from tests.web.site import BROWSER

SAY = TOOL.format(id="say")
# line 6 is wrong
WRONG = SAY.replace("text: {type: string,", "text: {type: strng,")


def send(server: Server, do: str = "check", file: tuple[str, str] | None = None, **fields: str) -> Any:
    """The answer to the form, as a browser sends it."""
    parts: list[Any] = [("csrf", (None, "")), *((name, (None, value)) for name, value in fields.items())]
    parts += [("file", file or ("", "")), ("do", (None, do))]
    return server.post("/deploy", files=parts, headers=BROWSER, allow_redirects=False)


def ids(server: Server) -> set[str]:
    return {one["id"] for one in server.get("/processes").json()["processes"]}


def text_of(page: str) -> str:
    """What stands in the field for the package."""
    return unescape(re.search(r'<textarea id="text"[^>]*>\n?(.*?)</textarea>', page, re.S)[1])  # type: ignore[index]


def test_a_check_tells_what_would_be_and_keeps_nothing(lone: Server) -> None:
    lone.platform()
    for given in ({"text": SAY}, {"file": ("a.cwl", SAY)}, {"text": json.dumps({"executionUnit": {"value": SAY}})}):
        page = send(lone, **given)
        assert page.status_code == 200, page.text
        assert "It can be deployed" in page.text
        for word in ("<code>text</code> (text)", "<code>scene</code> (file, optional)", "scripted", "1 core"):
            assert word in page.text, word
    assert ids(lone) == set()


@pytest.mark.parametrize("way", ["text", "file"])
def test_what_is_wrong_is_shown_at_its_line_and_can_be_mended_there(lone: Server, way: str) -> None:
    page = send(lone, "deploy", **({"text": WRONG} if way == "text" else {"file": ("bad.cwl", WRONG)}))
    assert page.status_code == 400
    wrong = re.search(r'class="line wrong">→ +(\d+)  ([^<]*)', page.text)
    assert wrong is not None
    assert (wrong[1], "strng" in wrong[2]) == ("6", True)
    assert text_of(page.text) == WRONG
    assert ids(lone) == set()


def test_hostile_packages_are_only_text(lone: Server) -> None:
    for text in (
        "</textarea><script>alert(1)</script>",
        "cwlVersion: </pre><script>x</script>\nclass: {",
        "\0\x1b[31m",
    ):
        page = send(lone, text=text, id='"><script>', link="" if text else "x")
        assert 400 <= page.status_code < 500, page.text
        assert "<script>" not in page.text
    broken = send(lone, file=("a.cwl", "\xff"), text="")
    assert broken.status_code == 400


def test_one_package_at_a_time(lone: Server) -> None:
    assert "give a package" in send(lone).text
    assert "not two" in send(lone, text=SAY, link="https://a.invalid/b.cwl").text
    refused = send(lone, link="http://127.0.0.1:1/a.cwl")
    assert (refused.status_code, 'value="http://127.0.0.1:1/a.cwl"' in refused.text) == (400, True)
    assert send(lone, repository="https://a.invalid/b.git", commit="abc", path="a.cwl").status_code == 400


def test_deploying_and_replacing(lone: Server) -> None:
    lone.platform()
    made = send(lone, "deploy", text=SAY)
    assert (made.status_code, made.headers["location"]) == (303, f"{lone.url}/processes/say?f=html")
    again = send(lone, "deploy", text=SAY)
    assert (again.status_code, "Tick <i>replace</i>" in again.text) == (409, True)
    assert send(lone, "deploy", text=SAY, replace="yes").status_code == 303
    assert lone.get("/processes/say").json()["revision"] == 2
    assert send(lone, "deploy", text=SAY, id="other", replace="yes").status_code == 303
    assert ids(lone) == {"say", "other"}
    form = lone.get("/deploy?replace=say", headers=BROWSER)
    assert text_of(form.text) == SAY
    assert "Replace say" in form.text
    assert lone.get("/deploy?replace=none", headers=BROWSER).status_code == 404


def test_a_package_from_git(with_settings: MakeServer, tmp_path: Path) -> None:
    with GitPeer(tmp_path / "git") as peer:
        egress = EgressSettings(allow_hosts=("localhost",), ca_file=Path(peer.ca_file))
        server = with_settings(egress=egress)
        server.platform()
        place = {"repository": peer.url, "commit": peer.commit({"wf/app.cwl": SAY}), "path": "wf/app.cwl"}
        checked = send(server, "check", None, **place)
        assert (checked.status_code, "It can be deployed" in checked.text) == (200, True), checked.text
        assert f"--git {peer.url} --commit {place['commit']}" in checked.text
        assert send(server, "deploy", None, **place).status_code == 303
        assert place["commit"] in server.get("/processes/say?f=html").text
        missing = send(server, "check", None, **{**place, "path": "none.cwl"})
        assert (missing.status_code, f'value="{place["commit"]}"' in missing.text) == (400, True)


def test_the_twin_deploys_the_same(lone: Server, tmp_path: Path) -> None:
    lone.platform()
    page = unescape(send(lone, file=("my app.cwl", SAY), w="say").text)
    words = shlex.split(re.search(r"(curl -H.*?)</code>", page, re.S)[1].replace("\\\n", " "))  # type: ignore[index]
    assert words[words.index("--data-binary") + 1] == "@my app.cwl"
    kind = next(word for word in words if word.startswith("Content-Type:")).partition(": ")[2]
    url = next(word for word in words if word.startswith("http"))
    assert lone.post(url, data=SAY, headers={"Content-Type": kind}).status_code == 201
    assert "broker deploy 'my app.cwl' -w say" in page


def test_who_may_not_deploy_is_told(with_settings: MakeServer) -> None:
    server = with_settings(access=ACCESS)
    reader = browser(server, "r", "Reader", "read", "run")
    assert "lacks the scope" in reader.page("/deploy")
    parts = [("csrf", (None, reader.csrf)), ("text", (None, SAY)), ("do", (None, "deploy"))]
    answer = reader("POST", "/deploy", files=parts, headers={"Origin": server.url, "Accept": "text/html"})
    assert answer.status_code == 403


def zipped(files: Mapping[str, str | bytes], way: int = zipfile.ZIP_DEFLATED) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", way) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return whole.getvalue()


# a package of several files, with some that are none of it
TREE: dict[str, str | bytes] = {
    "app/package.cwl": SAY.replace("baseCommand: [", "hints: [{$import: parts/hints.yml}]\nbaseCommand: ["),
    "app/parts/hints.yml": "class: ResourceRequirement\ncoresMin: 2\n",
    "app/parts/other.cwl": SAY,
    "app/data/scene.tif": b"\xff\x00" * 500,
    "app/.git/HEAD": "ref: refs/heads/main",
}


def sent(server: Server, do: str, files: Mapping[str, str | bytes], **fields: str) -> Any:
    """The form with a folder, as a browser sends it."""
    parts: list[Any] = [("csrf", (None, "")), *(("folder", (name, content)) for name, content in files.items())]
    parts += [*((name, (None, value)) for name, value in fields.items()), ("do", (None, do))]
    return server.post("/deploy", files=parts, headers=BROWSER, allow_redirects=False)


@pytest.mark.parametrize("way", ["folder", "zip"])
def test_a_package_of_several_files(lone: Server, way: str) -> None:
    lone.platform()
    files = TREE if way == "folder" else {"app.zip": zipped(TREE)}
    page = sent(lone, "check", files)
    assert page.status_code == 200, page.text
    assert "2 cores" in page.text
    [held] = re.findall(r'name="bundle" value="([^"]*)"', page.text)
    kept = json.loads(unescape(held))
    assert [*kept["documents"], *kept["files"]] == ["package.cwl", "parts/hints.yml"]
    assert "broker deploy &#39;package.cwl" in page.text or "broker deploy package.cwl" in page.text
    again = send(lone, "deploy", bundle=unescape(held))
    assert (again.status_code, again.headers["location"]) == (303, f"{lone.url}/processes/say?f=html")
    assert "scene.tif" not in lone.get("/processes/say/package").text
    assert sent(lone, "deploy", files, id="other").status_code == 303
    assert "scene.tif" not in lone.get("/processes/other/package").text
    assert "There is a process of this id" in sent(lone, "check", files).text
    refused = sent(lone, "deploy", files)
    assert (refused.status_code, "parts/hints.yml" in refused.text) == (409, True)
    assert sent(lone, "deploy", files, replace="yes").status_code == 303
    assert lone.get("/processes/say").json()["revision"] == 2


def test_which_of_several_files_is_the_package(lone: Server) -> None:
    lone.platform()
    two = {"a.cwl": TOOL.format(id="first"), "b.cwl": TOOL.format(id="second"), "c.txt": "c"}
    which = sent(lone, "deploy", two)
    assert (which.status_code, "a.cwl, b.cwl. Write below which" in which.text) == (400, True)
    assert sent(lone, "deploy", two, main="b.cwl").headers["location"].endswith("/second?f=html")
    assert "there is no d.cwl" in sent(lone, "check", two, main="d.cwl").text
    assert "none of the files is CWL" in sent(lone, "check", {"a.txt": "a", "b.txt": "b"}).text
    lacking = sent(lone, "check", {name: TREE[name] for name in ("app/package.cwl", "app/data/scene.tif")})
    assert (lacking.status_code, "parts/hints.yml" in lacking.text) == (400, True)


def test_what_is_wrong_in_a_second_file_is_shown_there(lone: Server) -> None:
    page = sent(lone, "deploy", {"package.cwl": TREE["app/package.cwl"], "parts/hints.yml": "a: 1\nb: c: 2\nd: 3"})
    assert page.status_code == 400
    assert "parts/hints.yml:" in page.text
    assert 'class="line wrong">' in page.text
    assert "b: c: 2" in text_of_excerpt(page.text)


def text_of_excerpt(page: str) -> str:
    return unescape(re.search(r'<pre class="excerpt"[^>]*>(.*?)</pre>', page, re.S)[1])  # type: ignore[index]


def test_hostile_archives_and_bundles(lone: Server) -> None:
    good = {"package.cwl": SAY}
    for name, data, said in (
        ("bomb", zipped(good | {"x": b"0" * 30_000_000}), "more than 8 MiB"),
        ("many", zipped(good | {f"f{number}": "" for number in range(2001)}), "more than 2000 files"),
        ("up", zipped(good | {"a\\b": "x"}), "not a path that a package may hold"),
        ("cut", zipped(good)[:-30], "damaged zip"),
        ("odd", zipped(good, zipfile.ZIP_LZMA), "packed in an unusual way"),
        ("spoilt", zipped(good).replace(b"package.cwl", b"Package.cwl", 1), "damaged zip"),
    ):
        page = sent(lone, "deploy", {f"{name}.zip": data})
        assert (page.status_code, said in unescape(page.text)) == (400, True), (name, page.text)
    for bundle in ("{", "[]", "{}", '{"documents": {}, "files": 3}', '{"documents": {"a": 1}, "files": {"b": 2}}'):
        assert 400 <= send(lone, "deploy", bundle=bundle).status_code < 500, bundle
    assert ids(lone) == set()


def test_a_browser_sends_a_folder(chrome: Browser, lone: Server, tmp_path: Path) -> None:
    lone.platform()
    for name, content in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    context = chrome.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{lone.url}/deploy")
    page.get_by_label("or a folder").set_input_files(tmp_path / "app")
    page.get_by_role("button", name="Check").click()
    assert page.get_by_text("It can be deployed").is_visible()
    page.get_by_role("button", name="Deploy").click()
    assert page.url == f"{lone.url}/processes/say?f=html"
    context.close()


@pytest.mark.parametrize("scripts", [False, True])
def test_a_browser_mends_and_deploys(chrome: Browser, lone: Server, scripts: bool, tmp_path: Path) -> None:
    lone.platform()
    file = tmp_path / "bad.cwl"
    file.write_text(WRONG)
    context = chrome.new_context(java_script_enabled=scripts)
    page = context.new_page()
    page.goto(f"{lone.url}/processes?f=html")
    page.get_by_role("link", name="Deploy", exact=True).click()
    page.get_by_label("or a file of this computer").set_input_files(file)
    page.get_by_role("button", name="Check").click()
    assert page.locator(".excerpt .wrong").inner_text().split()[1] == "6"
    field = page.get_by_label("The package")
    field.fill(field.input_value().replace("strng", "string"))
    page.get_by_role("button", name="Deploy").click()
    assert page.get_by_role("button", name="Execute").is_visible()
    assert page.url == f"{lone.url}/processes/say?f=html"
    page.get_by_role("link", name="Replace it").click()
    page.get_by_role("button", name="Deploy").click()
    assert lone.get("/processes/say").json()["revision"] == 2
    page.locator("summary", has_text="Undeploy it").click()
    page.get_by_label("Write say to undeploy it").fill("say")
    page.get_by_role("button", name="Undeploy").click()
    assert ids(lone) == set()
    context.close()
