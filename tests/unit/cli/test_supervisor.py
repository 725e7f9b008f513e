"""The supervisor's own decisions; what it does with real processes is in tests/faults."""

from __future__ import annotations

import http.server
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.cli import supervisor
from broker.cli.supervisor import Part, Supervisor
from broker.settings import Settings


def test_a_part_that_fails_for_hours_is_still_started_again() -> None:
    assert [supervisor._pause(failures) for failures in (1, 7, 5000)] == [0.2, 10.0, 10.0]


def test_a_machine_without_room_for_a_process_is_asked_again(tmp_path: Path) -> None:
    def full() -> int:
        raise BlockingIOError("Resource temporarily unavailable")

    part = Part("worker", full)
    above = Supervisor(Settings(state=tmp_path), print)
    above.parts.append(part)
    above._revive()
    assert (part.pid, part.failures, part.due > part.started) == (0, 1, True)


def test_the_end_of_a_program_is_heard_of_by_the_supervisor_alone() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    pid = supervisor._spawn(["/bin/true"])
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    subprocess.run(["/bin/true"], check=True)  # each new Popen looks after those that were dropped
    assert os.waitpid(pid, os.WNOHANG)[0] == pid
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


class Answering(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_api_is_asked_directly_whatever_proxy_there_is(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert supervisor._healthy(url)
