"""Forms with files (multipart/form-data), read as they arrive: nothing is kept here but the part that is being read."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from broker.api import bodies
from broker.api.problems import BodyTooLarge, NotJson, WrongMediaType
from broker.errors import InputProblem

MULTIPART = "multipart/form-data"
MOST_PARTS = 1000
LONGEST_HEAD = 8 * 1024  # bytes of the header of a part
LONGEST_TOKEN = 1024
_HEAD, _DATA, _END = "head", "data", "end"


@dataclass(frozen=True, slots=True)
class Part:
    """The head of a part: a field, or (with a file name, which may be empty) a file."""

    name: str
    filename: str | None
    media_type: str


@dataclass
class _Events:
    """What the parser says, in order: the head of a part, its bytes, its end."""

    found: deque[tuple[str, bytes]] = field(default_factory=deque)
    name: bytes = b""
    value: bytes = b""
    head: dict[bytes, bytes] = field(default_factory=dict)
    heads: deque[dict[bytes, bytes]] = field(default_factory=deque)

    def part_begins(self) -> None:
        self.head = {}

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.name += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def header_ends(self) -> None:
        self.head[self.name.lower()] = self.value
        self.name = self.value = b""

    def headers_end(self) -> None:
        self.heads.append(self.head)
        self.found.append((_HEAD, b""))

    def data(self, data: bytes, start: int, end: int) -> None:
        self.found.append((_DATA, data[start:end]))

    def part_ends(self) -> None:
        self.found.append((_END, b""))


class Form:
    """The parts of a request's body, in their order. A part that is not read is skipped.

    Raises NotJson for a body that is no such form, BodyTooLarge, ClientDisconnect.
    """

    def __init__(self, request: Request) -> None:
        _, options = parse_options_header(request.headers.get("content-type"))
        boundary = options.get(b"boundary")
        if bodies.media_type(request) != MULTIPART or not boundary:
            raise WrongMediaType(InputProblem("", "this is for the forms of the page"))
        self._stream = request.stream()
        self._events = _Events()
        events = self._events
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": events.part_begins,
                "on_part_data": events.data,
                "on_part_end": events.part_ends,
                "on_header_field": events.header_field,
                "on_header_value": events.header_value,
                "on_header_end": events.header_ends,
                "on_headers_finished": events.headers_end,
            },
            max_header_size=LONGEST_HEAD,
        )
        self._inside = False
        self._first: Part | None = None  # what came in the place of the token
        self._count = 0
        self.token: str | None = None  # the field `csrf` where it comes first, as on our pages

    async def _next(self) -> tuple[str, bytes] | None:
        """The next thing that the parser finds; None at the end of the body."""
        found = self._events.found
        while not found:
            chunk = await anext(self._stream, b"")
            if not chunk:
                return None
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise NotJson(InputProblem("", f"the body is not a form: {error}")) from None
        return found.popleft()

    async def part(self) -> Part | None:
        """The next part; None after the last."""
        if self._first is not None:
            first, self._first = self._first, None
            return first
        while self._inside:
            async for _ in self.chunks():
                pass
        event = await self._next()
        if event is None:
            return None
        self._count += 1
        if self._count > MOST_PARTS:
            raise BodyTooLarge(f"A form may have {MOST_PARTS} fields.")
        self._inside = True
        return _part(self._events.heads.popleft())

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the part."""
        while self._inside:
            event = await self._next()
            if event is None:
                raise NotJson(InputProblem("", "the form ends in the middle"))
            if event[0] == _END:
                self._inside = False
            elif event[1]:
                yield event[1]

    async def whole(self, limit: int) -> bytes:
        """The part, of at most `limit` bytes."""
        whole = bytearray()
        async for chunk in self.chunks():
            whole += chunk
            if len(whole) > limit:
                raise BodyTooLarge(f"A field of a form may have {limit} bytes here.")
        return bytes(whole)

    async def text(self, limit: int) -> str:
        """The part as a text of at most `limit` bytes."""
        return decoded(await self.whole(limit))

    async def read_token(self) -> str | None:
        """The field `csrf`, if it is the first."""
        part = await self.part()
        if part is not None and part.name == "csrf" and part.filename is None:
            self.token = await self.text(LONGEST_TOKEN)
        else:
            self._first = part
        return self.token


def decoded(whole: bytes) -> str:
    """A part as a text. Raises NotJson."""
    try:
        return whole.decode()
    except UnicodeDecodeError:
        raise NotJson(InputProblem("", "the form is not in UTF-8")) from None


def _part(head: dict[bytes, bytes]) -> Part:
    _, options = parse_options_header(head.get(b"content-disposition"))
    name, filename = options.get(b"name"), options.get(b"filename")
    if name is None:
        raise NotJson(InputProblem("", "a part of the form has no name"))
    kind = head.get(b"content-type", b"").decode("latin-1")
    return Part(_name(name), None if filename is None else _name(filename), kind)


def _name(raw: bytes) -> str:
    """Browsers write names in the encoding of the page, which is UTF-8, and `%22`, `%0D`, `%0A` for what would break
    the header (WHATWG HTML, multipart/form-data encoding algorithm)."""
    text = raw.decode("utf-8", "replace")
    return text.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


async def form_of(request: Request) -> Form:
    """The form of a request: the gate may have begun to read it, for its token."""
    begun = getattr(request.state, "form", None)
    if begun is None:
        begun = request.state.form = Form(request)
        await begun.read_token()
    return cast(Form, begun)
