"""Lanes: one platform that hangs delays no other one."""

from __future__ import annotations

import threading

from broker.queue.lanes import Lanes

SOON = 10.0


def test_a_platform_that_hangs_holds_up_no_other() -> None:
    over, done = threading.Event(), threading.Semaphore(0)
    hanging: list[str] = []

    def work(platform: str, verb: str) -> bool:
        if platform == "dead":
            hanging.append(verb)
            over.wait(SOON)
        else:
            done.release()
        return False

    lanes = Lanes(work, lambda _: 2)
    for _ in range(20):
        for verb in ("dispatch", "observe", "collect"):
            lanes.nudge("dead", verb)
    for number in range(20):
        lanes.nudge(f"alive {number}", "observe")
        assert done.acquire(timeout=SOON)
    assert len(hanging) == 2  # calls at one time
    assert not over.is_set()
    over.set()


def test_what_came_meanwhile_is_done_once_more_and_errors_end_nothing() -> None:
    inside, go, seen, rest = threading.Event(), threading.Event(), [], threading.Event()

    def work(platform: str, verb: str) -> bool:
        seen.append(verb)
        inside.set()
        assert go.wait(SOON)
        if len(seen) == 1:
            raise ValueError("unforeseen")
        if len(seen) == 3:
            rest.set()
        return False

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

    def work(platform: str, verb: str) -> bool:
        assert go.wait(SOON)
        seen.append(verb)
        much[verb] -= 1
        if not any(much.values()):
            rest.set()
        return much[verb] > 0

    lanes = Lanes(work, lambda _: 1)
    for verb in much:
        lanes.nudge("p", verb)
    go.set()
    assert rest.wait(SOON)
    assert seen == ["dispatch", "observe", "collect", "dispatch", "observe", "dispatch"]
