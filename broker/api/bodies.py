"""Request bodies: read with a bound, and parsed; also streamed to code that reads in a thread."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import islice
from typing import Any, BinaryIO, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from broker.api.problems import BodyTooLarge, BodyTooLate, NotJson, WrongMediaType
from broker.errors import InputError, InputProblem

READ_SECONDS = 60.0  # how long a document may take to arrive
SMALL = 256 * 1024  # bytes of a document that cannot hold too much
MOST_VALUES, MOST_MEMBERS = 1_000_000, 200_000
M = TypeVar("M", bound=BaseModel)
_MEMBER = re.compile(rb'"\s*:')


async def read(request: Request, limit: int) -> bytes:
    """The whole body, at most `limit` bytes. Raises BodyTooLarge, before reading where the length is announced,
    BodyTooLate, WrongMediaType for a compressed one: nothing here takes less memory than it says."""
    refuse_longer(request, limit)
    if (coding := request.headers.get("content-encoding", "identity").strip().lower()) not in ("", "identity"):
        raise WrongMediaType(InputProblem("", f"bodies are taken as they are, not in the coding {coding[:40]!r}"))
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await _whole(request, limit)
    except TimeoutError:
        raise BodyTooLate(f"The body did not arrive within {READ_SECONDS:.0f} s.") from None


async def _whole(request: Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def refuse_longer(request: Request, limit: int) -> None:
    """Raise BodyTooLarge when the announced length is over the limit."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise _too_large(limit)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is too large: at most {limit} bytes are taken here.")


def media_type(request: Request) -> str:
    """The Content-Type without parameters, in lower case; empty when there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def parse(request: Request, body: bytes) -> Any:
    """The JSON value of a body; None for an empty one. Raises NotJson, WrongMediaType."""
    kind = media_type(request)
    if kind and kind != "application/json" and not kind.endswith("+json"):
        raise WrongMediaType(InputProblem("", f"the body has to be application/json, not {kind[:80]}"))
    charset = request.headers.get("content-type", "").lower().partition("charset=")[2].strip('" ;')
    if charset and charset not in ("utf-8", "utf8", "us-ascii"):
        raise WrongMediaType(InputProblem("", f"JSON is written in UTF-8, not {charset[:40]}"))
    body = body.removeprefix(b"\xef\xbb\xbf")
    if not body.strip():
        return None
    if len(body) > SMALL:
        _refuse_many(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotJson(InputProblem("", f"the body is not JSON: {error}")) from None


def _refuse_many(body: bytes) -> None:
    """Raise BodyTooLarge for a document that takes many times its size once it is read: `[],[],[]` takes 30 times."""
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    if values > MOST_VALUES or next(islice(_MEMBER.finditer(body), MOST_MEMBERS, None), None) is not None:
        raise BodyTooLarge(f"A document may hold {MOST_VALUES} values at most, and {MOST_MEMBERS} members of objects.")


def modelled(model: type[M], body: Mapping[str, Any], hint: str | None = None) -> M:
    """The body as a model. Raises InputError, with a problem for each member that is not right."""
    try:
        return model.model_validate(dict(body))
    except ValidationError as error:
        problems = [InputProblem("/" + "/".join(map(str, one["loc"])), one["msg"]) for one in error.errors()]
        raise InputError(*problems, hint=hint) from None


async def parsed_object(request: Request, limit: int) -> tuple[dict[str, Any], bytes]:
    """(the JSON object of the body, its bytes); an empty body counts as an empty object."""
    body = await read(request, limit)
    value = parse(request, body)
    if value is None:
        return {}, body
    if not isinstance(value, dict):
        raise NotJson(InputProblem("", "the body has to be a JSON object"))
    return value, body


class Incoming(io.RawIOBase):
    """A body (or a part of one) that arrives on the event loop, read by a thread: each read waits for the next chunk,
    so that a slow disk slows the client down and nothing piles up.

    `limit` bytes at most (BodyTooLarge). `lenient`: a client that goes away ends the body instead of raising.
    """

    def __init__(
        self,
        stream: AsyncIterator[bytes],
        limit: int,
        *,
        lenient: bool = False,
        seen: Callable[[int], None] | None = None,
    ) -> None:
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._lenient = lenient
        self._seen = seen
        self._left = b""
        self.size = 0
        self.cut = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = self._next()
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def _next(self) -> bytes:
        chunk = asyncio.run_coroutine_threadsafe(self._advance(), self._loop).result()
        self.size += len(chunk)
        if self.size > self._limit:
            raise _too_large(self._limit)
        if self._seen is not None and chunk:
            self._seen(self.size)
        return chunk

    async def _advance(self) -> bytes:
        try:
            async for chunk in self._stream:
                if chunk:
                    return chunk
        except ClientDisconnect:
            if not self._lenient:
                raise
            self.cut = True
        return b""

    def buffered(self) -> BinaryIO:
        return cast(BinaryIO, io.BufferedReader(self, 256 * 1024))
