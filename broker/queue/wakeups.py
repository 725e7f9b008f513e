"""Wake-ups: "something changed on this job", by Valkey pub/sub. A lost one costs a second, never a result."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import redis
import redis.asyncio
from redis.exceptions import RedisError

CHANNEL = "job:"
log = logging.getLogger(__name__)


def _url(celery_url: str) -> str:
    """redis-py's spelling of a Celery URL (`redis+socket:///path` is `unix:///path` there)."""
    return celery_url.replace("redis+socket://", "unix://", 1)


class Wake:
    """The sending side, for tasks."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(_url(url), socket_timeout=2, socket_connect_timeout=2)

    def __call__(self, *job_ids: str) -> None:
        with contextlib.suppress(RedisError):
            for job_id in job_ids:
                self.client.publish(CHANNEL + job_id, "")

    def depth(self, queue: str) -> int:
        """Messages that wait in a queue; 0 where nobody can say."""
        try:
            length = self.client.llen(queue)
        except RedisError:
            return 0
        return length if isinstance(length, int) else 0


class Watch:
    """One waiter for one job."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def wait(self, seconds: float) -> bool:
        """True when something changed since the watch began or the last wait; False after `seconds`."""
        try:
            await asyncio.wait_for(self.event.wait(), seconds)
        except TimeoutError:
            return False
        self.event.clear()
        return True


class Wakeups:
    """The listening side, one subscription for all waiters of an API process."""

    def __init__(self, url: str) -> None:
        self._url = _url(url)
        self._waiters: dict[str, set[Watch]] = {}
        self.over = False  # the server stops: who follows a job to its end has to let go
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._listen())

    def let_go(self) -> None:
        """Wake all who wait, now and later: the server stops as soon as they are gone."""
        self.over = True
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.event.set()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Watch]:
        waiter = Watch()
        self._waiters.setdefault(job_id, set()).add(waiter)
        try:
            yield waiter
        finally:
            self._waiters[job_id].discard(waiter)
            if not self._waiters[job_id]:
                del self._waiters[job_id]

    async def _listen(self) -> None:
        """Listen for ever; while the queue server is away, waiters just time out."""
        while True:
            try:
                async with redis.asyncio.Redis.from_url(self._url) as client, client.pubsub() as pubsub:
                    await pubsub.psubscribe(CHANNEL + "*")
                    async for message in pubsub.listen():
                        self._wake(message["channel"])
            except RedisError as error:
                log.warning("no wake-ups: %s", error)
            await asyncio.sleep(1)

    def _wake(self, channel: bytes | str) -> None:
        name = channel.decode() if isinstance(channel, bytes) else channel
        for waiter in self._waiters.get(name.removeprefix(CHANNEL), ()):
            waiter.event.set()
