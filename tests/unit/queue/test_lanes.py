"""Lanes: one platform that hangs delays no other one."""

from __future__ import annotations

import threading
import time

from broker.queue.lanes import Lanes

SOON = 10.0


def test_a_platform_that_hangs_holds_up_no_other() -> None:
    over, done = threading.Event(), threading.Semaphore(0)
    hanging: list[str] = []

    def work(platform: str, verb: str) -> None:
        if platform == "dead":
            hanging.append(verb)
            over.wait(SOON)
        else:
            done.release()

    lanes = Lanes(work, lambda _: 2)
    for _ in range(20):
        for verb in ("dispatch", "observe", "collect"):
            lanes.nudge("dead", verb)
    for number in range(20):
        lanes.nudge(f"alive {number}", "observe")
        assert done.acquire(timeout=SOON)
    assert hanging == ["dispatch", "observe"]  # calls at one time
    assert not over.is_set()
    over.set()


def test_what_came_meanwhile_is_done_once_more_and_errors_end_nothing() -> None:
    inside, go, seen, rest = threading.Event(), threading.Event(), [], threading.Event()

    def work(platform: str, verb: str) -> None:
        seen.append(verb)
        inside.set()
        assert go.wait(SOON)
        if len(seen) == 1:
            raise ValueError("unforeseen")
        if len(seen) == 3:
            rest.set()

    lanes = Lanes(work, lambda _: 1)
    lanes.nudge("p", "observe")
    assert inside.wait(SOON)
    for verb in ("observe", "observe", "collect", "observe"):
        lanes.nudge("p", verb)
    go.set()
    assert rest.wait(SOON)
    assert seen == ["observe", "observe", "collect"]


def test_verbs_of_which_there_is_much_take_turns() -> None:
    go, seen, rest = threading.Event(), [], threading.Event()
    much = {"dispatch": 3, "observe": 2, "collect": 1}

    def work(platform: str, verb: str) -> float | None:
        assert go.wait(SOON)
        seen.append(verb)
        much[verb] -= 1
        if not any(much.values()):
            rest.set()
        return 0.0 if much[verb] > 0 else None

    lanes = Lanes(work, lambda _: 1)
    for verb in much:
        lanes.nudge("p", verb)
    go.set()
    assert rest.wait(SOON)
    assert seen == ["dispatch", "observe", "collect", "dispatch", "observe", "dispatch"]


def test_a_verb_that_has_to_wait_holds_up_no_other() -> None:
    seen: list[tuple[str, float]] = []
    rest = threading.Event()

    def work(platform: str, verb: str) -> float | None:
        seen.append((verb, time.monotonic()))
        if verb == "observe" and len(seen) == 1:
            lanes.nudge("p", "dispatch")
            return 0.2
        if len(seen) == 3:
            rest.set()
        return None

    lanes = Lanes(work, lambda _: 1)
    lanes.nudge("p", "observe")
    assert rest.wait(SOON)
    assert [verb for verb, _ in seen] == ["observe", "dispatch", "observe"]
    assert seen[2][1] - seen[0][1] >= 0.2


def test_a_nudge_wakes_a_lane_that_waits_for_later() -> None:
    seen: list[str] = []
    waits, rest = threading.Event(), threading.Event()

    def work(platform: str, verb: str) -> float | None:
        seen.append(verb)
        waits.set()
        if verb == "observe":
            return 600.0
        rest.set()
        return None

    lanes = Lanes(work, lambda _: 1)
    lanes.nudge("p", "observe")
    assert waits.wait(SOON)
    lanes.nudge("p", "dismiss")
    assert rest.wait(SOON)
    assert seen == ["observe", "dismiss"]


def test_files_that_are_moved_leave_a_thread_for_looks() -> None:
    """A large file takes minutes."""
    over, looked = threading.Event(), threading.Semaphore(0)
    moving: list[str] = []

    def work(platform: str, verb: str) -> None:
        if verb == "collect":
            moving.append(verb)
            over.wait(SOON)
        else:
            looked.release()

    lanes = Lanes(work, lambda _: 3)
    for _ in range(10):
        lanes.nudge("p", "collect")
        lanes.nudge("p", "observe")
        assert looked.acquire(timeout=SOON)
    assert len(moving) == 2
    over.set()
