"""Forms with files, read as they arrive, against what clients write."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from broker.api.multipart import Form
from broker.errors import BrokerError

T = TypeVar("T")
Parts = list[tuple[str, str | None, bytes]]


def request(body: bytes, content_type: str, piece: int) -> Request:
    """A request whose body arrives in pieces."""
    pieces = [body[at : at + piece] for at in range(0, len(body), piece)] or [b""]
    messages: list[dict[str, Any]] = [
        {"type": "http.request", "body": one, "more_body": at < len(pieces) - 1} for at, one in enumerate(pieces)
    ]

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type.encode())]}
    return Request(scope, receive)


def read(body: bytes, content_type: str, piece: int = 7) -> Parts:
    async def whole() -> Parts:
        form = Form(request(body, content_type, piece))
        found: Parts = []
        while (part := await form.part()) is not None:
            found.append((part.name, part.filename, b"".join([chunk async for chunk in form.chunks()])))
        return found

    return run(whole())


def run(work: Coroutine[Any, Any, T]) -> T:
    """In a thread of its own: the browser of other tests keeps an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def written(parts: list[Any]) -> tuple[bytes, str]:
    made = requests.Request("POST", "http://a.invalid/", files=parts).prepare()
    assert isinstance(made.body, bytes)
    return made.body, made.headers["Content-Type"]


@given(st.lists(st.tuples(st.sampled_from(["a", "b c", "ü"]), st.binary(max_size=60)), max_size=4), st.integers(1, 50))
def test_parts_in_any_pieces(parts: list[tuple[str, bytes]], piece: int) -> None:
    if not parts:
        return
    body, content_type = written([(name, (f"{name}.tif", data)) for name, data in parts])
    found = read(body, content_type, piece)
    assert [data for *_, data in found] == [data for _, data in parts]


def test_names_as_browsers_write_them() -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="in:a%22b"\r\n\r\n1\r\n'
        b'--x\r\nContent-Disposition: form-data; name="f"; filename="\xc3\xbc.tif"\r\n'
        b"Content-Type: image/tiff\r\n\r\n2\r\n"
        b'--x\r\nContent-Disposition: form-data; name="f"; filename=""\r\n\r\n\r\n--x--\r\n'
    )
    assert read(body, "multipart/form-data; boundary=x") == [
        ('in:a"b', None, b"1"),
        ("f", "ü.tif", b"2"),
        ("f", "", b""),
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"nothing of the kind",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\ncut',
        b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n",
        b"--x\r\n" + b"A: " + b"b" * 100_000 + b"\r\n\r\n1\r\n--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 2000 + b"--x--\r\n",
    ],
    ids=["text", "cut", "nameless", "long-header", "too-many"],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(BrokerError):
        read(body, "multipart/form-data; boundary=x", 4096)
    with pytest.raises(BrokerError):
        read(body, "multipart/form-data", 4096)


def test_a_field_has_a_bound() -> None:
    body, content_type = written([("a", (None, "x" * 100))])

    async def text(limit: int) -> str:
        form = Form(request(body, content_type, 10))
        await form.part()
        return await form.text(limit)

    assert len(run(text(100))) == 100
    with pytest.raises(BrokerError):
        run(text(99))
