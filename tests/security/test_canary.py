"""Secrets in settings, environment and credentials of a whole broker, and everything that comes out of it."""

from __future__ import annotations

import base64
import secrets
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import requests

from broker.cli import queue_server
from tests.peers.broker import BrokerPeer, broker_peer, command_line, descendants, wait_for
from tests.peers.postgres import PostgresPeer
from tests.peers.web import WebPeer
from tests.security import canaries as planted
from tests.security.canaries import Canaries, watched
from tests.security.people import issuer_peer
from tests.security.test_matrix import routes

NAMES = (
    "database password", "queue password", "s3 key", "s3 secret", "client secret", "environment", "credential",
)  # fmt: skip
# Everything that a tool can see of where it runs.
SNOOP = """cwlVersion: v1.2
class: CommandLineTool
id: snoop
baseCommand: [sh, -c]
arguments:
  - |
    env; cat /proc/*/environ /proc/*/cmdline /proc/self/mountinfo 2>&1 | tr '\\0' '\\n'
    ls -laR /tmp /root /home /run /var/run /etc/earthcode* . 2>&1 | head -2000
    find / -xdev -name '*.key' -o -name '*.toml' -o -name 'broker.db*' 2>/dev/null | head -100
    cat `find / -xdev -name secrets.key 2>/dev/null | head -1` broker.db 2>&1
    env >&2; exit $0
inputs: {code: {type: int, default: 0, inputBinding: {position: 1}}, scene: File?}
outputs: {seen: stdout}
stdout: seen.txt
"""


@dataclass
class Place:
    """A broker with secrets in it, and where to look for them."""

    broker: BrokerPeer
    canaries: Canaries
    web: WebPeer
    database: str
    queue: redis.Redis
    queued: list[str] = field(default_factory=list)
    answers: list[str] = field(default_factory=list)


@contextmanager
def queue_with_password(root: Path, password: str) -> Iterator[str]:
    """A queue server that asks for a password; its socket."""
    root.mkdir()
    command = [*queue_server.command(queue_server.find(), root), "--requirepass", password]
    process = subprocess.Popen(command)
    try:
        wait_for((root / "valkey.sock").exists, 10, lambda: "the queue server does not start")
        yield str(root / "valkey.sock")
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresPeer) -> Iterator[Place]:
    canaries = planted.made(*NAMES)
    value = canaries.values
    vault = secrets.token_bytes(32)
    value["vault key"] = base64.b64encode(vault).decode()
    root = tmp_path_factory.mktemp("c")
    database = postgres.new_database()
    with ExitStack() as running:
        web, issuer = running.enter_context(WebPeer()), running.enter_context(issuer_peer())
        web.guard = f"Bearer {value['credential']}"
        web.serve("/scene.tif", b"pixels")
        socket = running.enter_context(queue_with_password(root / "q", value["queue password"]))
        with_password = psycopg.conninfo.make_conninfo(database, password=value["database password"])
        parts = psycopg.conninfo.conninfo_to_dict(with_password)
        url = f"postgresql://{parts['user']}:{parts['password']}@/{parts['dbname']}?host={parts['host']}"
        patch = running.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("SOME_TOKEN", value["environment"])
        patch.setenv("AWS_PLANTED", value["environment"])
        settings: dict[str, Any] = {
            "DATABASE_URL": url,
            "REDIS_URL": f"redis+socket://:{value['queue password']}@{socket}",
            "S3__PLANTED__ACCESS_KEY": value["s3 key"],
            "S3__PLANTED__SECRET_KEY": value["s3 secret"],
            "SECRETS__KEY": value["vault key"],
            "EGRESS__ALLOW_NETWORKS": '["127.0.0.0/8"]',
            "ACCESS__ISSUERS__TESTS__URL": issuer.url,
            "ACCESS__ISSUERS__TESTS__AUDIENCE": '["urn:broker-of-the-tests"]',
            "ACCESS__ISSUERS__TESTS__CLIENT_ID": "browser",
            "ACCESS__ISSUERS__TESTS__CLIENT_SECRET": value["client secret"],
            "ACCESS__ISSUERS__TESTS__ROLES": '{"op": "operator", "sci": "scientist"}',
        }
        broker = running.enter_context(broker_peer(root / "s", **settings))
        broker.session.headers["Authorization"] = f"Bearer {issuer.token('alice', roles=['op'])}"
        queue = redis.Redis(unix_socket_path=socket, password=value["queue password"], decode_responses=True)
        found = Place(broker, canaries, web, database, queue)
        with listening(found), watched(canaries) as found.answers:
            live(found)
            yield found
        queue.close()


@contextmanager
def listening(place: Place) -> Iterator[None]:
    """Write down every command that the queue server is given."""
    over = threading.Event()

    def listen() -> None:
        with place.queue.monitor() as monitor:  # type: ignore[no-untyped-call]
            ready.set()
            while not over.is_set():
                with suppress(redis.TimeoutError):
                    place.queued.append(str(monitor.next_command()))

    ready = threading.Event()
    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        over.set()
        place.queue.ping()
        thread.join(10)


def live(place: Place) -> None:
    """Everything that a broker does: deploy, run, fail, credentials, wrong requests, each route."""
    broker, web = place.broker, place.web
    origin = web.url("").rstrip("/")
    credential = {"kind": "http", "origin": origin, "token": place.canaries.values["credential"]}
    made = broker.session.put(f"{broker.url}/credentials/data?test=false", json=credential, timeout=30)
    assert made.status_code == 201, made.text
    for name, wrong in (("x", {"kind": "s3"}), ("y", {"tok": "en"}), ("z", {"origin": "no url"})):
        broker.session.put(f"{broker.url}/credentials/{name}", json=credential | wrong, timeout=30)
    broker.deploy(SNOOP)
    jobs = [
        broker.execute("snoop", {"scene": {"href": web.url("/scene.tif"), "type": "image/tiff"}}),
        broker.execute("snoop", {"code": 3}),
        broker.execute("snoop", {"scene": {"href": web.url("/nothing.tif"), "type": "image/tiff"}}),
        broker.execute("snoop", {"scene": {"href": "s3://planted/no.tif", "type": "image/tiff"}}),
    ]
    ends = [broker.ended(job) for job in jobs]
    assert [end["status"] for end in ends] == ["successful", "failed", "failed", "failed"], (
        [end.get("message") for end in ends],
        broker.get(f"/jobs/{jobs[0]}/logs?f=text").text[-2000:],
    )
    for job in jobs:
        kept = broker.get(f"/jobs/{job}/files").json()["files"]
        path = kept[0]["path"] if kept else "none"
        ask_all(broker, {"job_id": job, "process_id": "snoop", "output": "seen", "path": path, "name": "data"})


def ask_all(broker: BrokerPeer, ids: dict[str, str]) -> None:
    """Every route that reads, in each form; each other one with a body that is wrong."""
    for route in routes():
        method, _, path = route.partition(" ")
        for name, value in ids.items():
            path = path.replace("{" + name + "}", value).replace("{" + name + ":path}", value)
        path = "".join(part if not part.startswith("/{") else "/x" for part in split(path))
        if path.endswith("/logs"):
            broker.get(path + "?f=text")
        forms: tuple[dict[str, Any], ...] = (
            {"headers": {"Accept": "application/json"}},
            {"headers": {"Accept": "text/html"}},
        )
        for form in forms if method == "GET" else ({"json": {"kind": "wrong"}},):
            if not (method == "DELETE" and path.startswith(("/jobs", "/processes", "/credentials"))):
                broker.session.request(method, broker.url + path, timeout=30, allow_redirects=False, **form)


def split(path: str) -> list[str]:
    return [f"/{part}" for part in path.lstrip("/").split("/")]


def test_answers(place: Place) -> None:
    assert not place.answers


def test_what_a_tool_sees(place: Place) -> None:
    """Its environment, the processes and files around it: from its results and its log."""
    jobs = place.broker.get("/jobs?limit=10").json()["jobs"]
    first = next(one["jobID"] for one in jobs if one["status"] == "successful")
    seen = place.broker.get(f"/jobs/{first}/results/seen").text
    assert "PATH=" in seen, "the tool saw its own environment"
    assert not place.canaries.found(seen)


def test_files(place: Place) -> None:
    """Logs of every part, directories of jobs, what runs and what is kept."""
    assert place.broker.log.stat().st_size
    assert not place.canaries.in_files(place.broker.state)


def test_the_queue(place: Place) -> None:
    assert place.queued, "somebody was heard"
    held = [f"{key!r} {place.queue.dump(key)!r}" for key in place.queue.keys("*")]
    assert not place.canaries.found(*place.queued, *held)


def test_the_database(place: Place) -> None:
    """What is sealed is sealed; nothing else holds a secret at all."""
    texts: list[str | bytes] = []
    with psycopg.connect(place.database) as connection:
        query = "select table_name from information_schema.tables where table_schema = 'public'"
        for (table,) in connection.execute(query).fetchall():
            for (row,) in connection.execute(f'select row_to_json(t)::text from "{table}" t').fetchall():
                texts.append(row)
        texts += [bytes(row[0]) for row in connection.execute("select sealed from credentials").fetchall()]
    assert len(texts) > 50
    assert not place.canaries.found(*texts)


def test_processes(place: Place) -> None:
    """No secret on a command line, where everybody on the machine reads it; none at all around packages."""
    assert place.broker.process is not None
    pids = descendants(place.broker.process.pid)
    assert not place.canaries.found(*pids.values())
    zygote = next(pid for pid, line in pids.items() if "broker.runner.zygote" in line)
    for pid in descendants(zygote):
        with suppress(OSError):
            assert not place.canaries.found(Path(f"/proc/{pid}/environ").read_bytes()), command_line(pid)
            memory = _memory(pid)
            assert not place.canaries.found(memory), "in the memory of a process that touches packages"


def _memory(pid: int) -> bytes:
    """What a process has written into its memory."""
    found = bytearray()
    with Path(f"/proc/{pid}/maps").open() as maps, Path(f"/proc/{pid}/mem").open("rb") as memory:
        for line in maps:
            area, rights, *_ = line.split()
            start, end = (int(part, 16) for part in area.split("-"))
            if rights.startswith("rw") and end - start < 256 * 2**20:
                with suppress(OSError, ValueError):
                    memory.seek(start)
                    found += memory.read(end - start)
    return bytes(found)


def test_a_leak_would_be_seen(place: Place, tmp_path: Path) -> None:
    """Planted on purpose: the search finds each way of writing a secret."""
    secret = place.canaries.values["credential"]
    for leak in (secret, base64.b64encode(f"user:{secret}".encode()).decode(), f'{{"a": "{secret}"}}'):
        assert place.canaries.found(leak)
    (tmp_path / "up.log").write_text(f"connected to redis://:{place.canaries.values['queue password']}@host")
    assert place.canaries.in_files(tmp_path) == ["queue password: up.log"]
    with WebPeer() as web, watched(place.canaries) as seen:
        web.serve("/leak", f"here: {secret}")
        requests.get(web.url("/leak"), timeout=5)
    assert len(seen) == 1
