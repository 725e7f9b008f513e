"""What a job is told of platforms that take nothing, by where it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.api.trouble import told
from broker.jobs.model import Phase
from broker.store.children import Shown
from broker.store.platforms import Closed
from tests.unit.jobs.test_lifecycle import JOB

DOWN, PAUSED = Closed(False, "no\n route", 0.0), Closed(True, "", None)
WHY = "does not answer since 1970-01-01 00:00 UTC: no route"


@pytest.mark.parametrize(
    ("phase", "closed", "said"),
    [
        (Phase.ACCEPTED, DOWN, f"Waits for far, which {WHY}"),
        (Phase.ACCEPTED, PAUSED, "Waits for far, which is paused."),
        (Phase.RUNNING, DOWN, f"It runs. This is as it was: far {WHY}"),
        (Phase.RUNNING, PAUSED, None),  # what is there goes on
        (Phase.ACCEPTED, None, None),
    ],
)
def test_a_job_and_its_platform(phase: Phase, closed: Closed | None, said: str | None) -> None:
    one = replace(JOB, phase=phase, platform="far", message="It runs.")
    assert told(one, (), {"other": DOWN} | ({"far": closed} if closed else {})) == said


def test_a_job_whose_steps_run_elsewhere() -> None:
    def child(platform: str, finished: float | None) -> Shown:
        return Shown("c", "say", platform, Phase.ACCEPTED, 1, False, "", None, finished)

    waits = replace(JOB, phase=Phase.WAITING, platform="local")
    assert told(waits, (child("near", None), child("far", 3.0)), {"far": DOWN}) is None
    said = told(waits, (child("near", None), child("far", None)), {"far": DOWN})
    assert said == f"Steps of it wait for far, which {WHY}"
