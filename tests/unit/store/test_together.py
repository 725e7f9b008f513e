"""Group commit: many writers, few batches, and each gets its own result or error."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from broker.store.together import Together


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_who_comes_during_a_write_shares_the_next_one(pool: ThreadPoolExecutor) -> None:
    batches: list[list[int]] = []
    begun, go = threading.Event(), threading.Event()

    def write(items: Sequence[int]) -> list[int | Exception]:
        batches.append(list(items))
        begun.set()
        assert go.wait(10)
        return [-item for item in items]

    async def main() -> list[int]:
        together: Together[int, int] = Together(write, pool)
        first = asyncio.ensure_future(together(0))
        await asyncio.get_running_loop().run_in_executor(pool, begun.wait, 10)
        others = [asyncio.ensure_future(together(number)) for number in range(1, 9)]
        await asyncio.sleep(0)  # they are in the line now
        go.set()
        return [await first, *[await other for other in others]]

    assert asyncio.run(main()) == [-number for number in range(9)]
    assert batches == [[0], list(range(1, 9))]


def test_an_error_is_its_callers_alone(pool: ThreadPoolExecutor) -> None:
    def write(items: Sequence[int]) -> list[int | Exception]:
        if 99 in items:
            raise OSError("nothing is written")
        return [ValueError("odd") if item % 2 else item for item in items]

    async def main() -> list[int | BaseException]:
        together: Together[int, int] = Together(write, pool)
        mixed = await asyncio.gather(together(1), together(2), return_exceptions=True)
        broken = await asyncio.gather(together(99), together(4), return_exceptions=True)
        return [*mixed, *broken, await together(6)]

    odd, two, lost, too, six = asyncio.run(main())
    assert isinstance(odd, ValueError)
    assert (two, six) == (2, 6)
    assert isinstance(lost, OSError)
    assert isinstance(too, OSError)


def test_a_caller_that_goes_away_does_not_disturb_the_others(pool: ThreadPoolExecutor) -> None:
    begun, go = threading.Event(), threading.Event()

    def write(items: Sequence[int]) -> list[int | Exception]:
        begun.set()
        assert go.wait(10)
        return list(items)

    async def main() -> int:
        together: Together[int, int] = Together(write, pool)
        gone, stays = asyncio.ensure_future(together(1)), asyncio.ensure_future(together(2))
        await asyncio.get_running_loop().run_in_executor(pool, begun.wait, 10)
        gone.cancel()
        go.set()
        return await stays

    assert asyncio.run(main()) == 2
