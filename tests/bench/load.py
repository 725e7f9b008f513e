"""A load generator that costs little, so that the server is what is measured: raw HTTP/1.1, kept alive."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Load:
    """What a run of requests gave: requests per second, latencies in ms, and how many were not 2xx."""

    rate: float
    p50: float
    p95: float
    count: int
    errors: int

    def __str__(self) -> str:
        bad = f", {self.errors} errors" if self.errors else ""
        return f"{self.rate:.0f}/s (p50 {self.p50:.1f}, p95 {self.p95:.1f} ms{bad})"


def request(method: str, path: str, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def run(port: int, make: Callable[[int], bytes], *, count: int, clients: int) -> Load:
    """Send `count` requests over `clients` connections; `make` gives the n-th request."""
    return asyncio.run(_run(port, make, count, clients))


async def _run(port: int, make: Callable[[int], bytes], count: int, clients: int) -> Load:
    times: list[float] = []
    errors = 0
    numbers = iter(range(count))

    async def client() -> None:
        nonlocal errors
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            start = time.perf_counter()
            writer.write(make(number))
            status = await _answer(reader)
            times.append((time.perf_counter() - start) * 1000)
            errors += not 200 <= status < 300
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    elapsed = time.perf_counter() - start
    times.sort()
    return Load(count / elapsed, statistics.median(times), times[int(len(times) * 0.95)], count, errors)


async def _answer(reader: asyncio.StreamReader) -> int:
    """Read one answer to its end; its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    lowered = head.lower()
    if (at := lowered.find(b"content-length:")) >= 0:
        await reader.readexactly(int(lowered[at + 15 : lowered.index(b"\r", at)]))
    elif b"transfer-encoding: chunked" in lowered:
        while size := int((await reader.readuntil(b"\r\n")).strip() or b"0", 16):
            await reader.readexactly(size + 2)
        await reader.readuntil(b"\r\n")
    return int(head.split(b" ", 2)[1])
