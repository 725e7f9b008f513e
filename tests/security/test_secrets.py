"""Secrets: released to staging only, gone before the package is looked at, and found nowhere afterwards.

A whole broker with an S3 server that checks signatures and a web server that asks who is there; canaries are
searched for in everything that it writes, and by packages in everything that they can see.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from broker.jobs.model import Limits, StageItem
from broker.jobs.observation import State
from broker.jobs.secrets import Released
from broker.runner.jobdir import JobDir
from tests.peers.broker import BrokerPeer, broker_peer, descendants, wait_for
from tests.peers.runner import RunnerPeer, attempt_of, ended, look, runner_peer, shell
from tests.peers.s3 import SECRET_KEY, S3Peer, nanio_peer
from tests.peers.web import WebPeer

pytestmark = pytest.mark.xdist_group("secrets")
TOKEN = "canary-token-7e1b"
LOOPBACK = json.dumps(["127.0.0.0/8"])

COPY = """cwlVersion: v1.2
class: CommandLineTool
id: copy
baseCommand: [sh, -c]
arguments: ['cat "$0" "$1" > out.txt', $(inputs.one.path), $(inputs.two.path)]
inputs: {one: File, two: File}
outputs: {out: {type: File, outputBinding: {glob: out.txt}}}
"""

# what a package searches for is put together while it runs: its own text must not be what it finds
SEARCH = f"""cd /
for word in {TOKEN[:6]}'{TOKEN[6:]}' {SECRET_KEY[:6]}'{SECRET_KEY[6:]}'; do
  grep -rlsa --devices=skip -e "$word" / --exclude-dir=usr --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev
  for file in /proc/[0-9]*/environ /proc/[0-9]*/cmdline; do
    case $file in /proc/$$/*) ;; *) grep -lsa -e "$word" "$file" ;; esac
  done
done > "$OLDPWD/found.txt"
true"""


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Peer]:
    with nanio_peer("private") as peer:
        put(peer, "deep/one.txt", b"one of the bucket\n")
        yield peer


def put(s3: S3Peer, key: str, body: bytes) -> None:
    url = s3.account.signed(s3.bucket, key, 60, method="PUT")
    subprocess.run(["curl", "-sf", "-X", "PUT", "--data-binary", "@-", url], input=body, check=True)


@pytest.fixture(scope="module")
def web() -> Iterator[WebPeer]:
    with WebPeer() as peer:
        peer.guard = f"Bearer {TOKEN}"
        peer.serve("/", b"")
        peer.serve("/two.txt", b"two of the web\n")
        yield peer


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPeer]:
    with broker_peer(tmp_path_factory.mktemp("secrets") / "s", EGRESS__ALLOW_NETWORKS=LOOPBACK) as peer:
        yield peer


def keep(broker: BrokerPeer, name: str, **body: Any) -> None:
    answer = broker.session.put(f"{broker.url}/credentials/{name}", json=body, timeout=30)
    assert answer.status_code in (200, 201), answer.text


def keep_s3(broker: BrokerPeer, s3: S3Peer) -> None:
    keys = {"accessKey": s3.account.access_key, "secretKey": SECRET_KEY}
    keep(broker, "scenes", kind="s3", bucket=s3.bucket, endpoint=s3.endpoint, **keys)


def keep_http(broker: BrokerPeer, web: WebPeer) -> None:
    keep(broker, "data", kind="http", origin=web.url("").rstrip("/"), token=TOKEN)


def files_with(root: Path, *words: str) -> list[str]:
    """Files below a directory that hold one of the words, as they are or as JSON and base64 would write them."""
    found = []
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            found += [str(path.relative_to(root)) for word in words if word.encode() in content]
    return found


def test_a_job_gets_private_inputs_and_nothing_keeps_the_secrets(broker: BrokerPeer, s3: S3Peer, web: WebPeer) -> None:
    inputs = {"one": {"href": f"s3://{s3.bucket}/deep/one.txt"}, "two": {"href": web.url("/two.txt")}}
    broker.deploy(COPY)
    without = broker.ended(broker.execute("copy", inputs))
    assert without["status"] == "failed"
    keep_s3(broker, s3)
    keep_http(broker, web)
    job = broker.execute("copy", inputs)
    assert broker.ended(job)["status"] == "successful", broker.get(f"/jobs/{job}").text
    assert broker.get(f"/jobs/{job}/results/out").text == "one of the bucket\ntwo of the web\n"
    used = {one["name"]: one["lastUsed"] for one in broker.get("/credentials").json()["credentials"]}
    assert used["scenes"] is not None
    assert used["data"] is not None
    pages = [f"/jobs/{job}", f"/jobs/{job}/logs?f=json", f"/jobs/{job}/steps", "/audit", "/credentials", "/platforms"]
    for page in pages:
        text = broker.get(page).text
        assert TOKEN not in text, page
        assert SECRET_KEY not in text, page
    assert "use-credential" in broker.get("/audit").text
    assert files_with(broker.state, TOKEN, SECRET_KEY) == []
    assert files_with(broker.state, "two of the web") != []  # the search finds what is there


def test_a_package_that_searches_finds_nothing(broker: BrokerPeer, s3: S3Peer, web: WebPeer) -> None:
    keep_s3(broker, s3)
    keep_http(broker, web)
    lines = "\n".join(f"    {line}" for line in SEARCH.replace("$(", "\\$(").splitlines())
    package = f"""cwlVersion: v1.2
class: CommandLineTool
id: search
baseCommand: [sh, -c]
arguments:
- |
{lines}
inputs: {{one: File, two: File}}
outputs: {{found: {{type: File, outputBinding: {{glob: found.txt}}}}}}
"""
    broker.deploy(package)
    inputs = {"one": {"href": f"s3://{s3.bucket}/deep/one.txt"}, "two": {"href": web.url("/two.txt")}}
    job = broker.execute("search", inputs)
    assert broker.ended(job)["status"] == "successful", broker.get(f"/jobs/{job}/logs?f=json").text
    assert broker.get(f"/jobs/{job}/results/found").text == ""


def test_nobody_elses_address_gets_the_token(broker: BrokerPeer, web: WebPeer) -> None:
    """Another port, host or path below another origin; and a redirect, also one that leads back."""
    keep_http(broker, web)
    with WebPeer() as other:
        other.serve("/x", b"x")
        other.redirect("/back", web.url("/two.txt"))
        web.redirect("/away", other.url("/x"))
        broker.deploy(COPY.replace("id: copy", "id: copies"))
        for one in (other.url("/x"), web.url("/away"), other.url("/back")):
            broker.ended(broker.execute("copies", {"one": {"href": one}, "two": {"href": web.url("/two.txt")}}))
        assert other.requests
        assert all("authorization" not in request.headers for request in other.requests)
    came_back = [one for one in web.requests if one.path == "/two.txt" and "authorization" not in one.headers]
    assert came_back  # without the token, which had been left behind at the other origin or never been sent


def test_what_the_package_asks_for_is_not_fetched_with_it(broker: BrokerPeer, web: WebPeer) -> None:
    """Somebody's package names somebody else's private file as its default."""
    keep_http(broker, web)
    link = web.url("/two.txt")
    default = f"{{type: File, default: {{class: File, location: '{link}'}}}}"
    broker.deploy(COPY.replace("id: copy", "id: greedy").replace("two: File", f"two: {default}"))
    status = broker.ended(broker.execute("greedy", {"one": {"href": link}}))
    assert status["status"] == "failed", status
    asked = broker.execute("greedy", {"one": {"href": link}, "two": {"href": link}})
    assert broker.ended(asked)["status"] == "successful"  # now the person asks for it


# ---- below the API: what each process of a job has, and what is left on the disk


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerPeer]:
    with runner_peer(tmp_path_factory.mktemp("runner")) as peer:
        yield peer


def secrets_of(s3: S3Peer, web: WebPeer) -> Released:
    account = s3.account.to_json()
    return Released({s3.bucket: account}, {web.url("").rstrip("/"): f"Bearer {TOKEN}"})


def staged(s3: S3Peer, web: WebPeer) -> tuple[StageItem, ...]:
    return StageItem("one/1", f"s3://{s3.bucket}/deep/one.txt"), StageItem("two/2", web.url("/two.txt"))


EGRESS = {"schemes": ["http", "https"], "allowNetworks": ["127.0.0.0/8"]}


def memory_holds(pid: int, word: bytes) -> bool:
    """Whether the writable memory of a process has these bytes."""
    with Path(f"/proc/{pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            first, _, last = span.partition("-")
            if "w" not in rights or "[v" in line:
                continue
            try:
                memory.seek(int(first, 16))
                if word in memory.read(int(last, 16) - int(first, 16)):
                    return True
            except (OSError, OverflowError):
                continue
    return False


def test_no_process_that_sees_the_package_has_them_in_memory(runner: RunnerPeer, s3: S3Peer, web: WebPeer) -> None:
    platform = runner.platform(egress=EGRESS)
    package = shell("echo here > here.txt; sleep 600", "{out: {type: File, outputBinding: {glob: here.txt}}}")
    list(platform.submit(runner.spec(shell("true"))))  # the next job gets an engine in waiting
    spec = runner.spec(package, stage=staged(s3, web), secrets=secrets_of(s3, web), limits=Limits())
    list(platform.submit(spec))
    job = JobDir(runner.root / spec.name)
    try:
        wait_for(lambda: any(job.work.rglob("here.txt")), 30, lambda: str(look(platform, attempt_of(spec))))
        keeper = json.loads(job.started.read_text())["pid"]
        there = descendants(keeper)
        assert len(there) >= 3, there  # the keeper, the engine, the tool
        assert any(memory_holds(pid, spec.name.encode()) for pid in there)  # the search finds what is there
        for pid in (*there, runner.process.pid if runner.process else keeper):
            for word in (TOKEN, SECRET_KEY):
                assert not memory_holds(pid, word.encode()), there.get(pid)
        assert files_with(job.path, TOKEN, SECRET_KEY) == []
    finally:
        platform.cancel(attempt_of(spec))
        ended(platform, attempt_of(spec))


def test_a_plain_process_that_looks_into_its_jobs_directory_finds_none(
    runner: RunnerPeer, s3: S3Peer, web: WebPeer
) -> None:
    """Development only, but the widest view that a tool can have: all files of its own user."""
    platform = runner.platform(egress=EGRESS, isolation="process")
    script = (
        "here=$PWD; while [ ! -e spec.json ]; do cd ..; done; ls -a > $here/seen.txt;"
        f" grep -rlsa -e {TOKEN[:6]}'{TOKEN[6:]}' -e {SECRET_KEY[:6]}'{SECRET_KEY[6:]}' . > $here/found.txt; true"
    )
    outputs = (
        "{found: {type: File, outputBinding: {glob: found.txt}}, seen: {type: File, outputBinding: {glob: seen.txt}}}"
    )
    released = replace(secrets_of(s3, web), registries={"ghcr.io": {"username": "u", "password": TOKEN}})
    spec = runner.spec(shell(script, outputs), stage=staged(s3, web), secrets=released)
    list(platform.submit(spec))
    seen = ended(platform, attempt_of(spec))
    assert seen.state == State.SUCCEEDED, seen
    with (
        platform.open(attempt_of(spec), "found/found.txt") as found,
        platform.open(attempt_of(spec), "seen/seen.txt") as names,
    ):
        assert found.read() == b""
        assert {"spec.json", "inputs"} <= set(names.read().decode().split())


def test_what_staging_is_told_is_the_owners_alone_and_gone_with_it(
    runner: RunnerPeer, s3: S3Peer, web: WebPeer
) -> None:
    platform = runner.platform(egress=EGRESS)
    gate = web.hold("/slow")
    web.serve("/slow", b"slow")
    spec = runner.spec(
        shell("true"), stage=(*staged(s3, web), StageItem("s/low", web.url("/slow"))), secrets=secrets_of(s3, web)
    )
    job = JobDir(runner.root / spec.name)
    before = os.umask(0)
    try:
        platform._place(spec, job)
    finally:
        os.umask(before)
    assert job.stage.stat().st_mode & 0o777 == 0o600
    assert job.path.stat().st_mode & 0o777 == 0o700
    assert files_with(job.path, TOKEN, SECRET_KEY) == ["stage.json", "stage.json"]
    list(platform.submit(spec))
    web.wait_for("/slow")
    assert files_with(job.path, TOKEN, SECRET_KEY) == []  # already while it is still fetching
    gate.set()
    assert ended(platform, attempt_of(spec)).state == State.SUCCEEDED


@pytest.mark.parametrize("when", ["before", "while"])
def test_a_job_that_is_cancelled_leaves_none(runner: RunnerPeer, s3: S3Peer, web: WebPeer, when: str) -> None:
    platform = runner.platform(egress=EGRESS)
    web.serve(f"/held-{when}", b"x")
    web.hold(f"/held-{when}")
    item = StageItem("h", web.url(f"/held-{when}"))
    released = replace(secrets_of(s3, web), registries={"ghcr.io": {"username": "u", "password": TOKEN}})
    spec = runner.spec(shell("true"), stage=(item,), secrets=released)
    job = JobDir(runner.root / spec.name)
    if when == "before":
        platform._place(spec, job)
        job.cancel.touch()
        platform.zygote.start(job.path)
    else:
        list(platform.submit(spec))
        web.wait_for(f"/held-{when}")
        platform.cancel(attempt_of(spec))
    assert ended(platform, attempt_of(spec)).state == State.CANCELLED
    assert files_with(job.path, TOKEN, SECRET_KEY) == []


def test_a_persons_endpoint_is_an_address_like_any_other(runner: RunnerPeer, s3: S3Peer, web: WebPeer) -> None:
    """The operator's endpoints may be anywhere; that of a person's own account is checked."""
    released = secrets_of(s3, web)
    closed = runner.platform(egress={"schemes": ["http", "https"]})
    own = runner.spec(shell("true"), stage=staged(s3, web)[:1], secrets=released)
    list(closed.submit(own))
    failure = ended(closed, attempt_of(own)).failure
    assert failure is not None
    assert "may not connect" in failure.message
    open_ = runner.platform(egress={"schemes": ["http", "https"]}, s3={s3.bucket: s3.account.to_json()})
    operators = runner.spec(shell("true"), stage=staged(s3, web)[:1])
    list(open_.submit(operators))
    assert ended(open_, attempt_of(operators)).state == State.SUCCEEDED
