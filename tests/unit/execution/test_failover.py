"""Failover: what waits in vain goes elsewhere before anything of it was sent, and never after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.errors import PlatformUnavailable
from broker.execution import failover
from broker.jobs.model import Job, Needs, Phase
from broker.jobs.placement import Placement
from broker.platform import Health
from broker.store import deliveries, jobs, platforms
from broker.store.database import Database
from tests.peers.scripted import Killed, down
from tests.unit.execution.test_life import World
from tests.unit.store.rows import PLATFORM, job_row, platform_row

NOTHING_SENT = PlatformUnavailable("No connection.", sent=False)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    platform_row(database, "other")
    return World(database, tmp_path)


def health(world: World, available: bool, name: str = PLATFORM) -> None:
    with world.database.write() as tx:
        platforms.checked(tx, name, "scripted", 0, Health(available, world.offer))


def moved(world: World) -> list[str]:
    return [job.id for job in failover.step(world.database, "r")]


def test_what_waits_for_a_platform_that_is_down_goes_to_another(world: World) -> None:
    job = job_row(world.database)
    assert moved(world) == []  # it takes jobs
    health(world, False)
    assert moved(world) == [job.id]
    found = world.get(job)
    assert (found.platform, found.phase, found.attempt) == ("other", Phase.ACCEPTED, 1)
    assert found.placement is not None
    assert found.placement["rule"] == "failover"
    with world.database.read() as tx:
        assert ("other", "dispatch") in {(one.platform, one.verb) for one in deliveries.pending(tx)}
        assert jobs.events(tx, job.id)[-1]["event"] == "moved"
    assert moved(world) == []


@pytest.mark.parametrize(
    "given",
    [
        {"placement": Placement(PLATFORM, {}, rule="named", why="The request names it.").to_json()},
        {"needs": Needs(cores=99)},
    ],
)
def test_what_names_its_platform_or_fits_nowhere_else_stays(world: World, given: dict[str, Any]) -> None:
    job = job_row(world.database, **given)
    health(world, False)
    assert moved(world) == []
    assert world.get(job).platform == PLATFORM


def test_nothing_moves_when_no_other_takes_jobs(world: World) -> None:
    job_row(world.database)
    health(world, False)
    health(world, False, "other")
    assert moved(world) == []


def test_a_submission_of_which_nothing_was_sent_goes_back_to_the_line(world: World) -> None:
    job = job_row(world.database)
    world.platform.faults["submit"] = [NOTHING_SENT]
    world.dispatch()
    assert world.get(job).phase is Phase.ACCEPTED
    health(world, False)
    assert moved(world) == [job.id]


def killed(world: World, job: Job) -> None:
    """The worker dies with the intent saved; the next one gets no connection."""
    world.platform.faults["submit"] = [Killed()]
    with pytest.raises(Killed):
        world.dispatch()
    world.later()
    world.platform.faults["submit"] = [NOTHING_SENT]
    world.dispatch()


def timed_out(world: World, job: Job) -> None:
    world.platform.faults["submitted"] = down()
    world.dispatch()
    world.later()
    world.platform.faults["submit"] = [NOTHING_SENT]
    world.dispatch()


def half_there(world: World, job: Job) -> None:
    world.platform.faults["start"] = [NOTHING_SENT]
    world.dispatch()


def lost(world: World, job: Job) -> None:
    world.submitted(job)
    world.platform.states.clear()
    world.observe()
    assert world.get(job).attempt == 2


@pytest.mark.parametrize("before", [killed, timed_out, half_there, lost])
def test_what_may_have_arrived_stays(world: World, before: Any) -> None:
    job = job_row(world.database)
    before(world, job)
    world.later()
    health(world, False)
    assert moved(world) == []
    found = world.get(job)
    assert found.platform == PLATFORM
    health(world, True)
    world.finish(job)  # it is adopted, not begun again
    assert set(world.platform.executions.values()) == {1}
