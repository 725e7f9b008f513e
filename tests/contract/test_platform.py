"""The promises of `broker.platform`, the same for every adapter, with a failure at each stage of a submit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from broker.errors import NoSuchPlatform, PlatformError, PlatformRefused, PlatformUnavailable, SetupError
from broker.jobs.model import Attempt, JobSpec, Reason
from broker.jobs.observation import Observation, State
from broker.platform import Eventful, Platform
from tests.contract.conftest import Case, Killed
from tests.peers.broker import wait_for
from tests.peers.runner import attempt_of

Fatal = tuple[Case, Callable[[], AbstractContextManager[None]]]


def see(platform: Platform, attempt: Attempt) -> Observation:
    [seen] = platform.observe([attempt])
    return seen


def end_of(platform: Platform, spec: JobSpec) -> Observation:
    going = (State.QUEUED, State.RUNNING)
    attempt = attempt_of(spec)
    wait_for(lambda: see(platform, attempt).state not in going, 60, lambda: str(see(platform, attempt)))
    return see(platform, attempt)


def test_it_is_a_platform(case: Case) -> None:
    platform = case.connect()
    assert isinstance(platform, Platform)
    health = platform.check()
    assert health.available, health.message
    assert case.kind in health.capabilities.kinds
    assert health.capabilities.cores > 0
    if isinstance(platform, Eventful):
        assert callable(platform.events)


def test_a_job_from_submit_to_release(case: Case) -> None:
    platform = case.connect()
    spec = case.echo("hello")
    handles = list(platform.submit(spec))
    assert handles
    attempt = Attempt(spec.job_id, spec.attempt, spec.name, handles[-1])
    seen = end_of(platform, spec)
    assert seen.state == State.SUCCEEDED
    assert seen.name == spec.name
    assert seen.started is not None
    assert seen.finished is not None
    assert seen.started <= seen.finished
    assert seen.progress is not None
    assert seen.progress.done == seen.progress.total == 1
    collected = platform.collect(attempt)
    file = case.said(collected)
    assert file.size == 6
    with platform.open(attempt, file.ref) as stream:
        assert stream.read() == b"hello\n"
    with platform.open(attempt, file.ref, 3) as stream:
        assert stream.read() == b"lo\n"
    [step] = collected.steps
    assert step.status == "successful"
    assert step.exit_code in (0, None)  # None: the platform has no such thing
    platform.release(attempt)
    platform.release(attempt)
    assert see(platform, attempt).state == State.LOST


def test_a_submit_that_dies_is_adopted_by_the_next(fatal: Fatal) -> None:
    case, death = fatal
    spec = case.echo("hello")
    with death(), pytest.raises(Killed):
        list(case.connect().submit(spec))
    later = case.connect()
    handles = list(later.submit(spec))
    assert handles
    assert list(later.submit(spec))[-1] == handles[-1]
    assert end_of(later, spec).state == State.SUCCEEDED
    assert case.executions(spec) == 1


def test_cancel_between_intent_and_handle(fatal: Fatal) -> None:
    """Whatever a submit left behind, a cancel ends it, and a later submit does not bring it back."""
    case, death = fatal
    spec = case.sleep()
    with death(), pytest.raises(Killed):
        list(case.connect().submit(spec))
    platform = case.connect()
    platform.cancel(attempt_of(spec))
    if not case.buries and see(platform, attempt_of(spec)).state == State.LOST:
        return  # nothing had arrived, and the platform has no place for a note
    list(platform.submit(spec))
    assert end_of(platform, spec).state == State.CANCELLED
    platform.release(attempt_of(spec))


def test_cancel_of_what_was_never_submitted(case: Case) -> None:
    platform = case.connect()
    platform.cancel(Attempt("never", 1, "eb-never-1"))
    platform.release(Attempt("never", 1, "eb-never-1"))


def test_cancel_ends_a_running_job_and_is_idempotent(case: Case) -> None:
    platform = case.connect()
    spec = case.sleep()
    list(platform.submit(spec))
    assert see(platform, attempt_of(spec)).state in (State.QUEUED, State.RUNNING)
    platform.cancel(attempt_of(spec))
    platform.cancel(attempt_of(spec))
    assert end_of(platform, spec).state == State.CANCELLED
    platform.cancel(attempt_of(spec))
    assert see(platform, attempt_of(spec)).state == State.CANCELLED


def test_an_unknown_job_is_lost(case: Case) -> None:
    seen = see(case.connect(), Attempt("nobody", 1, "eb-nobody-1"))
    assert seen.state == State.LOST
    assert seen.failure is None or seen.failure.reason == Reason.LOST


def test_observe_takes_many(case: Case) -> None:
    platform = case.connect()
    specs = [case.echo(str(number)) for number in range(3)]
    for spec in specs:
        list(platform.submit(spec))
    for spec in specs:
        end_of(platform, spec)
    seen = list(platform.observe([attempt_of(spec) for spec in specs]))
    assert [one.name for one in seen] == [spec.name for spec in specs]
    assert list(platform.observe([])) == []


def test_a_failure_has_reason_message_and_log(case: Case) -> None:
    platform = case.connect()
    spec = case.failing()
    list(platform.submit(spec))
    seen = end_of(platform, spec)
    assert seen.state == State.FAILED
    assert seen.failure is not None
    assert seen.failure.reason == Reason.TOOL_FAILED
    assert seen.failure.exit_code == case.exit_code
    assert "wrong band" in seen.failure.log_tail
    assert platform.steps(attempt_of(spec))[0].status == "failed"
    with pytest.raises(PlatformError):
        platform.collect(attempt_of(spec))


def test_logs_are_read_once(case: Case) -> None:
    platform = case.connect()
    spec = case.chatty()
    list(platform.submit(spec))
    cursor: str | None = None
    text, ends = "", 0
    while ends < 2:
        page = platform.logs(attempt_of(spec), cursor)
        assert sum(len(chunk.text) for chunk in page.chunks) <= 2 * 2**20
        text += "".join(chunk.text for chunk in page.chunks if chunk.stream != "engine")
        cursor = page.cursor
        if not page.more and see(platform, attempt_of(spec)).state == State.SUCCEEDED:
            ends += 1
    assert text == "".join(f"{number}\n" for number in range(1, case.lines + 1))


def test_logs_of_an_unknown_job_are_empty(case: Case) -> None:
    page = case.connect().logs(Attempt("nobody", 1, "eb-nobody-1"), None)
    assert page.chunks == ()
    assert not page.more


def test_an_unreachable_platform_is_unavailable_and_harms_nothing(case: Case) -> None:
    away = case.unreachable()
    spec = case.echo("hello")
    with pytest.raises(PlatformUnavailable):
        list(away.submit(spec))
    health = away.check()
    assert not health.available
    assert health.message
    back = case.connect()
    list(back.submit(spec))
    assert end_of(back, spec).state == State.SUCCEEDED
    assert case.executions(spec) == 1


@pytest.mark.parametrize("ref", ["../../etc/passwd", "/etc/passwd", "said/../../exit.json", "nothing.txt", ""])
def test_open_gives_outputs_only(case: Case, ref: str) -> None:
    platform = case.connect()
    spec = case.echo("hello")
    list(platform.submit(spec))
    end_of(platform, spec)
    with pytest.raises((PlatformRefused, PlatformUnavailable)):
        platform.open(attempt_of(spec), ref)


def test_registry() -> None:
    import adapters

    assert "local" in adapters.kinds()
    assert adapters.platform_class("local").__name__ == "LocalPlatform"
    with pytest.raises(NoSuchPlatform, match="local"):
        adapters.platform_class("slurm")
    settings: dict[str, Any] = {"root": "/tmp/x", "socket": "/tmp/y", "isolatoin": "auto"}
    with pytest.raises(SetupError, match="isolatoin"):
        adapters.make_platform("local", "here", settings)
