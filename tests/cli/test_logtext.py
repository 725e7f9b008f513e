"""`broker logs` and `status`: steps and attempts told apart; and jobs named by a part of their id."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from broker.cli import outcome
from broker.cli.client import Client
from broker.cli.jobids import meant
from broker.cli.problems import UsageError
from broker.errors import NoSuchJob
from tests.cli.conftest import Broker
from tests.peers.web import WebPeer

JOB = "0199c8a4-1111-7000-8000-00000000abcd"
PIECES = [("mean", 1, "a"), ("mean", 1, "b\n"), ("mean_2", 1, "c"), ("meaning", 1, "d\n"), ("mean", 2, "e\n")]


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The log of a job of several steps, as its server would give it."""
    found = [
        {"id": number, "step": step, "attempt": attempt, "at": None, "text": text}
        for number, (step, attempt, text) in enumerate(PIECES, 1)
    ]

    def logs(self: Client, job_id: str, *, after: int = 0, step: str | None = None) -> dict[str, Any]:
        return {"logs": [one for one in found if int(str(one["id"])) > after], "cursor": len(found)}

    monkeypatch.setattr(Client, "logs", logs)
    monkeypatch.setattr(Client, "job", lambda self, job: {"status": "successful", "steps": {"total": 3}})
    monkeypatch.setattr(Client, "steps", lambda self, job: [{"name": "idle", "log": None}, {"name": "mean"}])
    return found


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize("follow", [(), ("-f",)])
def test_each_piece_is_labelled_with_its_step_and_attempts_are_apart(command: Broker, follow: tuple[str, ...]) -> None:
    said = command("logs", "x", *follow)
    assert said.code == 0
    assert said.out == (
        "== mean ==\nab\n== mean_2 ==\nc\n== meaning ==\nd\n-------- attempt 2 --------\n== mean ==\ne\n"
    )


@pytest.mark.usefixtures("pieces")
def test_a_step_is_all_of_its_scattered_runs(command: Broker) -> None:
    found = [json.loads(line) for line in command("logs", "x", "--step", "mean", "--json").out.splitlines()]
    assert [one["step"] for one in found] == ["mean", "mean", "mean_2", "mean"]
    assert command("logs", "x", "--step", "mean_2").out == "== mean_2 ==\nc"


@pytest.mark.usefixtures("pieces")
def test_an_unknown_step_is_told_the_known_ones(command: Broker) -> None:
    said = command("logs", "x", "--step", "maen")
    assert said.code == 2
    assert "idle, mean, mean_2, meaning" in said.err
    idle = command("logs", "x", "--step", "idle")
    assert (idle.code, idle.out) == (0, "")


def test_the_status_shows_the_jobs_that_run_steps_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    child = {"jobID": "c1", "status": "running", "step": "ndwi", "platform": "sky"}
    outcome.status({"jobID": JOB, "children": [child]})
    assert "c1  running  ndwi on sky" in capsys.readouterr().out


def test_the_status_shows_an_attempt_that_is_not_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    outcome.status({"jobID": JOB, "attempt": 2})
    assert "attempt   2" in capsys.readouterr().out
    outcome.status({"jobID": JOB, "attempt": 1})
    assert "attempt" not in capsys.readouterr().out


@pytest.fixture
def some() -> Iterator[Client]:
    """A client of a server with three jobs."""
    ids = ["0199c8a5-2222-7000-8000-00000000ffff", JOB, "0199c8a4-3333-7000-8000-00000000eeee"]
    with WebPeer() as web:
        web.serve("/jobs", {"jobs": [{"jobID": one} for one in ids], "links": []})
        with Client(web.url("")) as client:
            yield client


def test_a_job_is_meant_by_a_part_of_its_id_or_as_the_last(some: Client) -> None:
    assert meant(some, "last").startswith("0199c8a5")
    assert meant(some, "0199c8a5") == meant(some, "last")
    assert meant(some, "0199C8A4-11") == JOB
    assert meant(some, "0000abcd") == JOB
    assert meant(some, JOB) == JOB
    for text in ("0199c", "0199c8a6", "nosuchjob"):
        assert meant(some, text) == text
    with pytest.raises(UsageError, match="2 jobs fit 0199c8a4") as caught:
        meant(some, "0199c8a4")
    assert JOB in str(caught.value.hint)


def test_there_is_no_last_job_before_the_first() -> None:
    with WebPeer() as web:
        web.serve("/jobs", {"jobs": [], "links": []})
        with Client(web.url("")) as client, pytest.raises(NoSuchJob, match="no job yet"):
            meant(client, "last")
