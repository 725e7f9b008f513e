"""Planted secrets, and where they have no business: answers, logs, files, the queue, environments, the database.

With BROKER_TEST_CANARY=1 (as `make test` sets it) the environment of the whole suite holds some, and every answer
that a test gets, everything that a test prints or logs, and every file that a broker of a test leaves is looked at.
"""

from __future__ import annotations

import base64
import mmap
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

ON = os.environ.get("BROKER_TEST_CANARY") == "1"
# Secrets of nobody, under names that programs look for. Read by nothing here: no test may behave differently.
NAMES = ("PLANTED_SECRET", "PLANTED_API_TOKEN", "BROKER_S3__PLANTED__ACCESS_KEY", "BROKER_S3__PLANTED__SECRET_KEY")


@dataclass(frozen=True)
class Canaries:
    """Values by what they stand for. Found as they are, and inside base64."""

    values: dict[str, str]

    @property
    def _needles(self) -> Iterator[tuple[str, bytes]]:
        for name, value in self.values.items():
            raw = value.encode()
            yield name, raw
            for before in range(3):  # base64 writes it differently at each of three places
                written = base64.b64encode(b"\0" * before + raw)
                yield f"{name} in base64", written[4 if before else 0 : -4]

    def found(self, *texts: bytes | bytearray | str | mmap.mmap) -> list[str]:
        """What of them is in the texts."""
        seen = []
        for text in texts:
            data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
            seen += [name for name, needle in self._needles if data.find(needle) >= 0]
        return seen

    def in_files(self, root: Path, *, but: Iterable[str] = ()) -> list[str]:
        """`name: file` for each found below a directory. `but`: names of files that are there to hold one."""
        seen = []
        for file in root.rglob("*"):
            if file.name in but or file.is_symlink() or not file.is_file() or file.stat().st_size == 0:
                continue
            with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
                seen += [f"{name}: {file.relative_to(root)}" for name in self.found(data)]
        return seen


def made(*names: str) -> Canaries:
    """New secrets: letters and digits, so that no escaping hides them."""
    return Canaries({name: f"canary{secrets.token_hex(20)}" for name in names})


def of_suite() -> Canaries:
    """Those in the environment of this run; workers of xdist have them from their parent."""
    for name in NAMES:
        os.environ.setdefault(name, f"canary{secrets.token_hex(20)}")
    return Canaries({name: os.environ[name] for name in NAMES})


def of_brokers() -> dict[str, str]:
    """What a broker's environment holds besides, where the suite is watched."""
    return {name: os.environ[name] for name in NAMES if name.startswith("BROKER_")} if ON else {}


@contextmanager
def watched(canaries: Canaries) -> Iterator[list[str]]:
    """Look at every answer that comes from this machine while the block runs; gives what was found."""
    original = requests.Session.send
    seen: list[str] = []

    def send(self: requests.Session, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        answer = original(self, request, **options)
        if urlsplit(request.url or "").hostname in ("127.0.0.1", "localhost", "::1"):
            body = b"" if options.get("stream") else answer.content
            head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
            seen.extend(f"{name}: {request.method} {request.url}" for name in canaries.found(body, head))
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests.Session, "send", send)
        yield seen


def left(state: Path) -> None:
    """Fail when a broker that has ended left one of the suite's secrets in a file."""
    if ON:
        found = of_suite().in_files(state, but=("secrets.key",))
        assert not found, found
