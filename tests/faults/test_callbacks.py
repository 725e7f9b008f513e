"""Callbacks of a whole broker to a real receiver over TLS: nothing of them is lost, and nothing waits for them."""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from broker.cli import sealed
from broker.settings import Settings
from tests.faults.test_up import SLEEP, child
from tests.peers.broker import BrokerPeer, broker_peer, wait_for
from tests.peers.ports import free_port
from tests.peers.postgres import PostgresPeer
from tests.peers.web import Request, WebPeer

pytestmark = pytest.mark.xdist_group("broker")
README = Path(__file__).resolve().parents[2] / "docs" / "callbacks.md"
VICTIMS = ("worker", "api", "reconciler", "everything")
# each part on SQLite and all at once on PostgreSQL; `make faults` has each on both
FULL = os.environ.get("BROKER_TEST_FAULTS") == "full"
KILLS = [
    (victim, backend)
    for victim in VICTIMS
    for backend in ("sqlite", "postgresql")
    if FULL or backend == "sqlite" or victim == "everything"
]


@pytest.fixture
def receiver() -> Iterator[WebPeer]:
    with WebPeer(tls=True) as web:
        for path in ("/progress", "/success", "/failed"):
            web.serve(path, "taken")
        yield web


@contextmanager
def broker(state: Path, receiver: WebPeer, **variables: str) -> Iterator[BrokerPeer]:
    assert receiver.ca_file is not None
    settings: dict[str, Any] = {
        "EGRESS__ALLOW_HOSTS": '["localhost"]',
        "EGRESS__CA_FILE": receiver.ca_file,
        "CALLBACKS__RETRY_SECONDS": "0.2",
        "CALLBACKS__ANSWER_SECONDS": "1",
    }
    with broker_peer(state, **(settings | variables)) as peer:
        peer.deploy(SLEEP)
        yield peer


def subscriber(receiver: WebPeer) -> dict[str, str]:
    paths = {"successUri": "/success", "inProgressUri": "/progress", "failedUri": "/failed"}
    return {name: receiver.url(path) for name, path in paths.items()}


def nap(peer: BrokerPeer, seconds: float, told: dict[str, str], mark: str = "x") -> str:
    return peer.execute("nap", {"seconds": seconds, "mark": mark}, subscriber=told)


def states(peer: BrokerPeer, job: str) -> list[tuple[str, str]]:
    """Each kind once: how often progress is told depends on how quick the machine is. Without reports that the end of
    the job has overtaken before they were sent."""
    answer = peer.get(f"/jobs/{job}/callbacks")
    assert answer.status_code == 200, answer.text
    found = [(one["kind"], one["state"]) for one in answer.json()["callbacks"]]
    return list(dict.fromkeys(one for one in found if one != ("inProgress", "superseded")))


def delivered(peer: BrokerPeer, job: str, *kinds: str, seconds: float = 40) -> None:
    wanted = [(kind, "delivered") for kind in kinds]
    wait_for(lambda: states(peer, job) == wanted, seconds, lambda: f"{peer.get(f'/jobs/{job}/callbacks').text}")


def of_job(receiver: WebPeer, job: str) -> list[Request]:
    """What arrived of a job, each delivery once, in the order of arrival."""
    found: dict[str, Request] = {}
    for request in receiver.requests:
        if request.headers.get("webhook-id", "").startswith(job):
            found.setdefault(request.headers["webhook-id"], request)
    return list(found.values())


def test_results_status_and_failure_arrive_signed_and_in_order(tmp_path: Path, receiver: WebPeer) -> None:
    """And the verification example of the documentation takes them, and nothing else."""
    with broker(tmp_path / "state", receiver) as peer:
        job = nap(peer, 0.3, subscriber(receiver), "done")
        assert peer.ended(job)["status"] == "successful"
        delivered(peer, job, "inProgress", "success")
        progress, *_, success = of_job(receiver, job)
        assert (progress.path, success.path) == ("/progress", "/success")
        assert b'"status":"running"' in progress.body
        results = peer.get(f"/jobs/{job}/results", params={"response": "document"})
        assert success.body == results.content
        assert success.headers["link"] == f'<{peer.url}/jobs/{job}>; rel="monitor"'
        assert success.headers["content-type"] == "application/json"

        dropped = nap(peer, 60, subscriber(receiver))
        peer.reaches(dropped, "running")
        peer.delete(f"/jobs/{dropped}")
        delivered(peer, dropped, "inProgress", "failed")
        assert b'"status":"dismissed"' in of_job(receiver, dropped)[-1].body

        secret = peer.get("/callbacks/secret").json()["secret"]
        for request in (progress, success):
            assert verified(secret, request)
        assert not verified(secret, success, body=success.body + b" ")
        assert not verified(secret, success, headers={"webhook-timestamp": "1700000000"})
        newer = peer.post("/callbacks/secret").json()
        assert newer["before"] == secret
        again = nap(peer, 0, subscriber(receiver))
        delivered(peer, again, "inProgress", "success")
        for one in (secret, newer["secret"]):
            assert verified(one, of_job(receiver, again)[-1]), "both sign for a day"


def verified(secret: str, request: Request, body: bytes | None = None, headers: dict[str, str] | None = None) -> bool:
    """What the documentation's example says of a request, run as it stands there."""
    (example,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    space: dict[str, Any] = {}
    exec(compile(example, str(README), "exec"), space)
    try:
        space["verify"](secret, {**request.headers, **(headers or {})}, request.body if body is None else body)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(("victim", "backend"), KILLS)
def test_deliveries_survive_a_kill(
    tmp_path: Path, receiver: WebPeer, request: pytest.FixtureRequest, backend: str, victim: str
) -> None:
    """The part is killed while a delivery is under way, which the receiver then never answers."""
    variables = {}
    if backend == "postgresql":
        postgres: PostgresPeer = request.getfixturevalue("postgres")
        variables["DATABASE_URL"] = postgres.new_database()
    gate = receiver.hold("/progress")
    with broker(tmp_path / "state", receiver, **variables) as peer:
        job = nap(peer, 1, subscriber(receiver))
        receiver.wait_for("/progress", seconds=30)
        if victim == "everything":
            peer.kill()
            gate.set()
            peer.start()
        else:
            os.kill(child(peer, victim), signal.SIGKILL)
            gate.set()
        wait_for(peer._ready, 20, lambda: "the API did not come back")
        assert peer.ended(job)["status"] == "successful"
        delivered(peer, job, "inProgress", "success")
    paths = [one.path for one in of_job(receiver, job)]
    assert list(dict.fromkeys(paths)) == ["/progress", "/success"]
    assert paths.count("/success") == 1


def test_a_receiver_in_trouble_is_tried_again_and_nothing_overtakes(tmp_path: Path, receiver: WebPeer) -> None:
    """It answers 500, twice redirects to a private address, and then it takes it."""
    receiver.fail("/success", times=1, status=500)
    inside = receiver.serve("/inside", "secret")
    receiver.fail("/success", times=2, status=302, headers={"Location": inside})
    with broker(tmp_path / "state", receiver) as peer:
        job = nap(peer, 0, subscriber(receiver))
        delivered(peer, job, "inProgress", "success")
        (told,) = [one for one in peer.get(f"/jobs/{job}/callbacks").json()["callbacks"] if one["kind"] == "success"]
        assert told["tries"] == 4
        assert len(receiver.wait_for("/success", 4)) == 4
        assert len({one.headers["webhook-id"] for one in receiver.wait_for("/success", 4)}) == 1
        assert not [one for one in receiver.requests if one.path == "/inside"], "redirects are not followed"


def test_without_the_key_of_the_vault_they_wait_and_say_so(tmp_path: Path, receiver: WebPeer) -> None:
    with broker(tmp_path / "state", receiver) as peer:
        assert peer.get("/callbacks/secret").status_code == 200
        settings, key = Settings(state=peer.state), peer.state / "secrets.key"
        assert sealed.secrets(settings).state == "ok"
        lost = key.read_text()
        key.write_text(base64.b64encode(os.urandom(32)).decode())
        found = sealed.secrets(settings)
        assert (found.state, "0 credentials and the secrets of 1 people" in found.detail) == ("error", True)
        job = nap(peer, 0, {"successUri": receiver.url("/success")})
        peer.ended(job)

        def told() -> dict[str, Any]:
            one: dict[str, Any] = peer.get(f"/jobs/{job}/callbacks").json()["callbacks"][0]
            return one

        wait_for(lambda: told()["tries"] > 1, 20, lambda: f"{told()}")
        assert (told()["state"], "cannot sign it" in told()["message"]) == ("pending", True)
        key.write_text(lost)
        delivered(peer, job, "success")


def test_a_receiver_that_hangs_holds_up_nothing(tmp_path: Path, receiver: WebPeer) -> None:
    """Neither jobs on the only worker slot, nor other receivers, nor the stop of the broker."""
    receiver.hold("/success")
    with broker(tmp_path / "state", receiver, WORKER__SLOTS="1", CALLBACKS__ANSWER_SECONDS="30") as peer:
        hanging = [nap(peer, 0, {"successUri": receiver.url("/success")}) for _ in range(12)]
        for job in hanging:
            assert peer.ended(job)["status"] == "successful"
        receiver.wait_for("/success", 2)
        start = time.monotonic()
        other = nap(peer, 0, {"failedUri": receiver.url("/failed")})
        assert peer.ended(other)["status"] == "successful"
        assert time.monotonic() - start < 10
        assert len(receiver.wait_for("/success", 2)) == 2, "of one receiver, two at a time"
        with WebPeer(tls=False) as second:
            second.serve("/success", "taken")
            quick = nap(peer, 0, {"successUri": second.url("/success", "localhost")})
            delivered(peer, quick, "success", seconds=15)
        start = time.monotonic()
        assert peer.stop() == 0
        assert time.monotonic() - start < 10, "it waited for the receiver"


def test_a_receiver_that_was_down_is_told_later(tmp_path: Path, receiver: WebPeer) -> None:
    authority = Path(str(receiver.ca_file))
    certificates = (str(authority), str(authority.with_name("server.pem")), str(authority.with_name("server.key")))
    port = free_port()
    with broker(tmp_path / "state", receiver) as peer:
        job = nap(peer, 0, {"successUri": f"https://localhost:{port}/success?token=t0psecret"})
        peer.ended(job)

        def tried() -> bool:
            return any(one.get("tries", 0) > 1 for one in peer.get(f"/jobs/{job}/callbacks").json()["callbacks"])

        wait_for(tried, 20, lambda: "it was not tried twice")
        shown = peer.get(f"/jobs/{job}/callbacks").text
        assert "does not answer" in shown
        assert "t0psecret" not in shown, "the query of an address is between the two"
        with WebPeer(tls=True, port=port, certificates=certificates) as late:
            late.serve("/success", "taken")
            delivered(peer, job, "success")
            assert late.requests[-1].query == "token=t0psecret"


def test_private_addresses_are_never_called(tmp_path: Path, receiver: WebPeer) -> None:
    """A name is looked up when it is called: one that leads inside is refused then, and the delivery ends."""
    with broker(tmp_path / "state", receiver, EGRESS__ALLOW_HOSTS="[]") as peer:
        job = nap(peer, 0, {"successUri": receiver.url("/success")})
        peer.ended(job)
        wait_for(lambda: states(peer, job) == [("success", "failed")], 20, lambda: str(states(peer, job)))
        (one,) = peer.get(f"/jobs/{job}/callbacks").json()["callbacks"]
        assert one["tries"] == 1
        assert "not a public address" in one["message"]
    assert receiver.requests == []


def test_the_command_line_shows_and_repeats_them(tmp_path: Path, receiver: WebPeer) -> None:
    receiver.fail("/success", times=1, status=410)
    with broker(tmp_path / "state", receiver) as peer:
        job = nap(peer, 0, {"successUri": receiver.url("/success")})
        wait_for(lambda: states(peer, job) == [("success", "failed")], 30, lambda: str(states(peer, job)))

        def run(*words: str) -> str:
            command = [sys.executable, "-m", "broker.cli", "callback", *words, "--server", peer.url]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=peer.environment)
            assert done.returncode == 0, done.stderr
            return done.stdout + done.stderr

        assert "410" in run("list", job)
        assert "1 " in run("repeat", job)
        delivered(peer, job, "success")
        secret = run("secret").strip()
        assert secret.startswith("whsec_")
        assert secret != run("secret", "--new").split()[0]
