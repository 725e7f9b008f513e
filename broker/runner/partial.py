"""A file that grows while it is fetched, over several answers of the server where the connection breaks."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import TracebackType
from typing import Self

from broker.egress import Answer, FetchError, shown


class Partial:
    """The file `target`, growing, with its sha256, and what is known of the resource at `url`.

    `done`: bytes so far; `validator`, `resumable`: of the last answer (see `Answer`).
    """

    def __init__(self, url: str, target: Path) -> None:
        self._url = url
        self._file = target.open("xb")
        self._hash = hashlib.sha256()
        self._size: int | None = None
        self.validator: str | None = None
        self.resumable = True
        self.done = 0

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()

    def accept(self, answer: Answer) -> None:
        """Get ready for this answer's bytes: go on where it starts, or begin anew."""
        if answer.start and answer.size != self._size:
            self.restart()  # without a validator, another size is what tells that the resource changed
        if answer.start != self.done:
            if answer.start:
                raise FetchError(f"{shown(self._url)} sent another range than asked.", url=self._url, transient=True)
            self.restart()
        self._size = answer.size
        self.validator, self.resumable = answer.validator, answer.resumable

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self.done += len(chunk)
        self._hash.update(chunk)

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self.done, self._size, self.validator = 0, None, None
        self._hash = hashlib.sha256()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
