"""One test for each advisory of a peer that applies here (reference/ecosystem.md, C2): what they learned, we keep.

Elsewhere: pygeoapi CVE-2026-42352 and GeoServer CVE-2023-43795 (addresses that users give) in egress/, of callbacks
with issue 4; Argo CVE-2026-28229 (`Bearer nothing`) in test_matrix.py, for each route; Argo CVE-2026-31892 (patches of
pods) with the Kubernetes adapter; tokens and passwords in logs (Airflow CVE-2026-31987, -43826) in test_canary.py too.
"""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path
from typing import Any

import celery
import pytest
from kombu.exceptions import OperationalError
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from broker.access.principal import Reach
from broker.cli import credentials
from broker.errors import NoSuchJob, SetupError
from broker.execution import dispatch, observe
from broker.jobs.model import Failure, Fault, Limits, Phase, Reason
from broker.jobs.observation import State
from broker.queue.app import make_app, publish
from broker.queue.wakeups import Wake
from broker.settings import Settings
from broker.storage.local import LocalStorage
from broker.store import jobs
from broker.store.database import Database
from broker.store.jobs import Filter
from broker.store.tables import metadata
from tests.api.conftest import MakeServer
from tests.api.server import TOOL, Server
from tests.peers.scripted import ScriptedPlatform
from tests.security.people import own_token
from tests.security.world import EVERY
from tests.unit.store.rows import job_row, platform_row, process_row

ENDS = ("", "/logs", "/logs?f=text", "/logs?f=sse", "/results", "/steps", "/events", "/inputs", "/files", "/files/x")


@pytest.fixture
def server(with_settings: MakeServer) -> Server:
    return with_settings()


# ---- Argo CVE-2026-40886: one malformed thing must not stop the loop that all share


@pytest.mark.parametrize("column", ["job_order", "request", "handle"])
@pytest.mark.parametrize("poison", ["[]", '"text"', "null", '{"a": {"b": null}}'])
def test_a_job_of_an_odd_shape_stops_no_other(database: Database, tmp_path: Path, column: str, poison: str) -> None:
    """The poison job is put aside or goes its way; the others are dispatched and observed. (That no verb's error stops
    the work on other jobs is shown in unit/execution/test_mishaps.py.)"""
    platform, offer = ScriptedPlatform(), platform_row(database)
    process_row(database)
    bad, good = job_row(database), job_row(database)
    with database.write() as tx:
        tx.execute(text(f"update jobs set {column} = :poison where id = :id"), {"poison": poison, "id": bad.id})
    storage = LocalStorage(tmp_path / "files")
    for _ in range(3):
        dispatch.dispatch(database, platform, offer, storage, Limits(), "w")
    with database.write() as tx:
        assert jobs.get(tx, good.id).phase is Phase.SUBMITTED
        platform.says(jobs.get(tx, good.id).attempt_of().name, State.RUNNING)
        tx.execute(text("update jobs set due_at = 0, lease_until = null"))
    observe.observe(database, platform, "w")
    with database.read() as tx:
        assert jobs.get(tx, good.id).phase is Phase.RUNNING


# ---- Airflow CVE-2026-45426: whose a thing is is asked by equality in SQL, not by what a text looks like


NEAR = (
    "alice",
    "alice ",
    " alice",
    "Alice",
    "alicee",
    "alic",
    "ali%",
    "a_ice",
    "%",
    "alice/",
    "alice:",
    "a'or'1'='1",
    "",
)


def test_only_the_same_text_is_the_same_owner(database: Database) -> None:
    """Owners that begin alike, look alike, or mean something in SQL see nothing of each other."""
    process_row(database)
    platform_row(database)
    mine = {owner: job_row(database, owner).id for owner in NEAR}
    for owner in NEAR:
        with database.read() as tx:
            found = jobs.page(tx, Filter(owner=owner), limit=100)
            assert [one.id for one in found] == [mine[owner]]
            for other, job in mine.items():
                if owner == other:
                    assert jobs.get(tx, job, Reach(owner)).id == job
                else:
                    with pytest.raises(NoSuchJob):
                        jobs.get(tx, job, Reach(owner))


# ---- Airflow CVE-2026-22922, -24098: logs and errors of a tenant shown to another one


def test_logs_errors_and_files_have_the_permission_of_their_job(server: Server) -> None:
    """What a failed job of alice's says is nowhere in what bob gets, by any road."""
    secret = "the-words-of-alice"
    alice, bob = (own_token(server.database, name, *EVERY)[0] for name in ("alice", "bob"))
    server.site.gate.forget()
    server.platform()
    body = TOOL.format(id="mine").replace("echo", secret)
    deployed = {"Content-Type": "application/cwl+yaml", **alice}
    assert server.post("/processes", data=body.encode(), headers=deployed).status_code == 201
    wanted = {"inputs": {"text": secret}, "title": secret, "tags": [secret]}
    headers = {"Prefer": "respond-async", **alice}
    job = server.post("/processes/mine/execution", json=wanted, headers=headers).json()["jobID"]
    server.log(job, secret, stream=secret)
    server.fail(job, Failure(Fault.PACKAGE, Reason.TOOL_FAILED, secret, log_tail=secret))
    paths = [f"/jobs/{job}{end}" for end in ENDS] + ["/jobs", "/processes", "/processes/mine", "/audit", "/platforms"]
    for path in paths:
        mine, others = (server.get(path, headers=one, timeout=10) for one in (alice, bob))
        assert secret not in others.text, path
        assert path == "/processes/mine" or "mine" not in others.text, path
        assert mine.status_code < 500
    assert secret in server.get(f"/jobs/{job}/logs", headers=alice).text
    # the same key of idempotency, the same name of a process: of another tenant they are other ones
    for who, expected in ((alice, 201), (bob, 404)):
        again = {"Prefer": "respond-async", "Idempotency-Key": "k", **who}
        assert server.post("/processes/mine/execution", json=wanted, headers=again).status_code == expected


def test_packages_that_are_wrong_tell_their_owner_only(server: Server) -> None:
    """An error of a deployment holds lines of the package: it is in the answer, and kept nowhere."""
    secret = "words-of-a-wrong-package"
    alice, _ = own_token(server.database, "alice", *EVERY)
    server.site.gate.forget()
    body = f"cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: echo\n{secret}: [\n"
    answer = server.post("/processes", data=body.encode(), headers={"Content-Type": "application/cwl", **alice})
    assert 400 <= answer.status_code < 500
    with server.database.read() as tx:
        for table in metadata.sorted_tables:
            assert secret not in repr(tx.execute(table.select()).fetchall()), table.name


# ---- Airflow CVE-2026-31987, CVE-2026-43826: tokens, and passwords inside URLs, in logs


def test_tokens_are_not_logged(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    """Also by a request that fails inside, at the most talkative level."""
    caplog.set_level(logging.DEBUG)
    headers, _ = own_token(server.database, "alice", *EVERY)
    secret = headers["Authorization"].removeprefix("Bearer ")
    server.site.gate.forget()
    for wrong in (headers, {"Authorization": f"Bearer {secret}x"}, {"Authorization": f"Basic {secret}"}):
        server.get("/jobs", headers=wrong)
        server.post("/processes", data=b"[", headers=wrong | {"Content-Type": "application/cwl"})
    server.get(f"/jobs?access_token={secret}&cursor={secret}", headers=headers)
    server.database.close()
    server.site.rows.database.engine = create_engine("postgresql+psycopg://u:hidden-word@127.0.0.1:1/x")
    broken = server.get("/health/ready")
    assert broken.status_code == 503
    assert "127.0.0.1" not in broken.json()["detail"], "nor where the database is"
    ours = [one for one in caplog.records if not one.name.startswith(("urllib3", "requests"))]
    told = "\n".join(caplog.handler.format(one) for one in ours)
    assert secret not in told
    assert "hidden-word" not in told + broken.text


def test_settings_do_not_show_their_secrets(tmp_path: Path) -> None:
    """As text, as repr, as JSON, and in the error about another setting."""
    word = "hidden-word"
    given = Settings(
        state=tmp_path,
        database_url=SecretStr(f"postgresql://u:{word}@db/x"),
        redis_url=SecretStr(f"redis://:{word}@queue"),
        s3={"*": {"secret_key": word, "access_key": word}},
        secrets={"key": word},
        platforms={"far": {"adapter": "local", "token": word}},
    )
    for shown in (
        str(given),
        repr(given),
        given.model_dump_json(exclude={"platforms"}),
        repr(Database(given.database).url),
    ):
        assert word not in shown


# ---- Celery < 5.6: passwords of the queue server in logs


def test_the_queue_password_is_not_logged(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A queue server that refuses, with everything that speaks to it at its most talkative level."""
    assert tuple(int(part) for part in celery.__version__.split(".")[:2]) >= (5, 6)
    caplog.set_level(logging.DEBUG)
    word = "hidden-word"
    settings = Settings(state=tmp_path, redis_url=SecretStr(f"redis://:{word}@127.0.0.1:1/0"))
    app = make_app(settings)
    Wake(settings.redis)("a-job")
    with pytest.raises(OperationalError) as caught:
        publish(app, "scripted", "dispatch")
    assert word not in caplog.text
    assert word not in str(caught.value)
    assert word not in repr(app.conf.broker_url) or "broker_url" not in caplog.text


# ---- Nextflow GHSA-92qf-fcph-v5wr, and the token of Tower in .nextflow.log: files with tokens that all may read


def test_a_file_of_tokens_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At no moment may others open it, whatever the umask; one that others may read is not used."""
    file = tmp_path / "tokens.json"
    monkeypatch.setenv("BROKER_TOKEN_FILE", str(file))
    monkeypatch.delenv("BROKER_TOKEN", raising=False)
    modes = []
    really = os.open

    def opening(path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        number = really(path, flags, mode, **more)
        if flags & os.O_CREAT and "tokens.json" in str(path) and stat.S_ISREG(os.fstat(number).st_mode):
            modes.append(stat.S_IMODE(os.fstat(number).st_mode))
        return number

    monkeypatch.setattr(os, "open", opening)
    before = os.umask(0)
    try:
        credentials.keep("http://127.0.0.1:1", "eb_secret")
    finally:
        os.umask(before)
    assert modes
    assert all(mode & 0o077 == 0 for mode in modes)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    with pytest.raises(SetupError, match="chmod"):
        credentials.token_for("http://127.0.0.1:1")


# ---- users' bytes are never pages of ours (reference/ecosystem.md, C3)

PAGE = b"<html><script>alert(document.domain)</script>"


@pytest.mark.parametrize("name", ["page.html", "picture.svg", "page.xhtml", "code.js", "no-name", "page.pdf"])
def test_outputs_are_no_pages_of_ours(server: Server, name: str) -> None:
    """Whatever a file is called or claims to be: saved, not shown; and nobody in between keeps it."""
    alice, _ = own_token(server.database, "alice", *EVERY)
    server.site.gate.forget()
    server.platform()
    server.session.headers.update(alice)
    server.deploy()
    job = server.execute()
    server.succeed(
        job, {"said": {"class": "File", "location": name, "basename": name}, "number": PAGE.decode()}, {name: PAGE}
    )
    ends = (f"files/{name}", "results/said", "results/number", "results?f=raw", "results", "files", "inputs", "logs")
    server.log(job, PAGE.decode())
    for end in (*ends, "logs?f=text"):
        for accept in ("*/*", "text/html", "text/html,application/xhtml+xml"):
            answer = server.get(f"/jobs/{job}/{end}", headers={"Accept": accept})
            assert answer.status_code == 200, end
            assert answer.headers["x-content-type-options"] == "nosniff", end
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy, end
            assert not {"unsafe-inline", "unsafe-eval"} & set(policy.replace("'", " ").split()), end
            assert "public" not in answer.headers["cache-control"], end
            kind = answer.headers["content-type"].partition(";")[0]
            if end.startswith(("files/", "results/said")):
                assert answer.headers["content-disposition"].startswith("attachment"), end
                assert "sandbox" in policy
            elif kind == "text/html":  # a page of ours about it
                assert PAGE.decode() not in answer.text, "escaped"


def test_every_answer_says_what_browsers_may_do_with_it(server: Server) -> None:
    """Also problems, and what is not there."""
    for path in ("/", "/jobs", "/nothing", "/jobs/none", "/api", "/health/live", "/processes?f=none", "/%00"):
        for accept in ("application/json", "text/html"):
            answer = server.get(path, headers={"Accept": accept})
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert answer.headers["content-security-policy"], path
            assert answer.headers["cache-control"] == "no-store", path
            assert "server" not in answer.headers
