"""One client's connection: bounds in time, size and number for those who send slowly, too much, or nothing at all.

uvicorn bounds only the pause between requests. Here are bounds of the rest: connections in all and for each address,
time and size of a request's head, how slowly a body may come, how long nobody reads an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import logging
import resource
import socket
import struct
import termios
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from broker.api import problems
from broker.settings import Api

HEAD_SECONDS = 10.0  # from the first byte (of a new connection: from its start) to the end of the head
HEAD_BYTES = 64 * 1024  # of the URL and all fields
HEAD_FIELDS = 200
BODY_SECONDS = 20.0  # how often the progress of a body is looked at
BODY_RATE = 500  # bytes a second: what is slower holds a connection up without getting anywhere
LINGER_SECONDS = 5.0  # how long the rest of a body is taken, and dropped, after its request was answered
UNREAD_SECONDS = 120.0  # how often it is looked at whether a client takes its answer
SPARE_FILES = 200  # descriptors for everything but connections
_log = logging.getLogger("uvicorn.error.connection")
_log.setLevel(logging.ERROR)  # what strangers send is no warning of ours: they could fill the disk with it


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with bounds. `most` connections in all, `each` for one address (a /64 of IPv6)."""

    most: ClassVar[int]
    each: ClassVar[int]
    open: ClassVar[Counter[str]]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _log
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._address: str | None = None
        self._head = 0  # bytes of a head that is not complete
        self._in_head = True
        self._in_body = False
        self._came = 0  # bytes of a body since it was looked at
        self._held_up = False  # by us

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        address = _address(self.client[0] if self.client else "")
        if len(self.connections) > self.most or self.open[address] >= self.each:
            self._refuse(503, "There are too many connections, from one address or in all. Try again later.")
            return
        self._address = address
        self.open[address] += 1
        self._wait(HEAD_SECONDS, self._late_head)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self.resume_writing()
        if self._address is not None:
            self.open[self._address] -= 1
            if not self.open[self._address]:
                del self.open[self._address]
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._head += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            if self._head > HEAD_BYTES:
                self._refuse(431, f"The head of a request may have {HEAD_BYTES} bytes.")
            elif self._timer is None and self._head:  # not anew with each byte, nor while a request is answered
                self._wait(HEAD_SECONDS, self._late_head)
        elif self._in_body and self._timer is None:
            self._wait(BODY_SECONDS, self._look_at_body)

    def on_headers_complete(self) -> None:
        self._disarm()
        self._in_head, self._head = False, 0
        self._in_body, self._came, self._held_up = True, 0, False
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > HEAD_BYTES or len(self.headers) > HEAD_FIELDS:
            self._refuse(431, f"The head of a request may have {HEAD_FIELDS} fields and {HEAD_BYTES} bytes.")
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self.transport.is_closing():
            return
        self._came += len(body)
        super().on_body(body)
        self._held_up |= self.flow.read_paused

    def on_message_complete(self) -> None:
        if self.transport.is_closing():
            return
        self._disarm()
        self._in_body, self._in_head, self._head = False, True, 0
        super().on_message_complete()
        if self.cycle.response_complete:  # the rest of a body that nobody wanted: uvicorn's own timer is off by now
            self._wait(HEAD_SECONDS, self._late_head)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and not self.transport.is_closing():
            # closed at once, the client would find its connection reset and no answer
            self._wait(LINGER_SECONDS, self.transport.close)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._look_later()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _look_later(self) -> None:
        self._unread = self.loop.call_later(UNREAD_SECONDS, self._look_at_answer, self._left())

    def _look_at_answer(self, before: int) -> None:
        """What a slow client takes is seen in the kernel long before we may write again: it holds megabytes."""
        if before - self._left() < BODY_RATE * UNREAD_SECONDS:
            self.transport.abort()
        else:
            self._look_later()

    def _left(self) -> int:
        """Bytes of answers that the client has not taken yet, ours and the kernel's."""
        number = struct.pack("i", 0)
        with contextlib.suppress(OSError):
            number = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, number)
        return int(struct.unpack("i", number)[0]) + self.transport.get_write_buffer_size()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "This is no HTTP request.")

    def _wait(self, seconds: float, do: Callable[[], object]) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, do)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late_head(self) -> None:
        if self._head:
            self._refuse(408, f"The head of the request did not arrive within {HEAD_SECONDS:.0f} s.")
        else:
            self.transport.close()

    def _look_at_body(self) -> None:
        waiting = self._held_up or self.flow.read_paused or self.cycle.waiting_for_100_continue
        if not waiting and self._came < BODY_RATE * BODY_SECONDS:
            self._refuse(408, f"The body comes too slowly: {BODY_RATE} bytes a second are the least.")
            return
        self._came, self._held_up = 0, False
        self._wait(BODY_SECONDS, self._look_at_body)

    def _refuse(self, status: int, detail: str) -> None:
        """Answer, where no answer has begun, and close."""
        self._disarm()
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            answer = problems.refused(status, detail)
            fields = [b"%s: %s\r\n" % field for field in answer.raw_headers]
            self.transport.write(b"".join([STATUS_LINE[status], *fields, b"connection: close\r\n\r\n", answer.body]))
        self.transport.close()


def _address(host: str) -> str:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 6 and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


class Server(uvicorn.Server):
    """uvicorn's server, which on its way out waits for answers to end: those that follow a job are told to."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        site = getattr(getattr(self.config.app, "state", None), "site", None)
        if site is not None:
            site.wakeups.let_go()
        await super().shutdown(sockets)


def serving(app: ASGIApp, api: Api, **more: Any) -> uvicorn.Config:
    """How this API is served."""
    files = _files()

    class Bounded(Connection):
        most = min(api.connections, max(files - SPARE_FILES, 16))
        each = api.connections_each
        open: ClassVar[Counter[str]] = Counter()

    return uvicorn.Config(
        app,
        loop="uvloop",
        http=Bounded,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        proxy_headers=False,  # a client must not say what our address is: `[api] url` does
        server_header=False,
        **more,
    )


def _files() -> int:
    """How many descriptors this process may have: as many as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard > 65536:
        hard = 65536
    if soft == resource.RLIM_INFINITY or soft >= hard:
        return 65536 if soft == resource.RLIM_INFINITY else soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return hard
