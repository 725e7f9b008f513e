"""A job's log on stdout: which step wrote what, in which attempt."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.cli.client import Client
from broker.cli.console import plain
from broker.cli.problems import UsageError


@dataclass
class LogText:
    """Prints pages of a job's log; with `step` only what that step wrote, with all its scattered runs (`step_2`)."""

    client: Client
    job_id: str
    step: str | None = None
    as_json: bool = False
    seen: set[str] = field(default_factory=set)  # the steps that wrote something, printed or not
    _last: tuple[int, str] | None = None  # attempt and step of the piece before
    _open: bool = False  # whether the last line is not ended yet
    _labels: bool | None = None

    def page(self, page: Mapping[str, Any]) -> None:
        """Pieces of a log: texts with the step's name where it changes, or one JSON object a line."""
        for entry in page.get("logs") or ():
            name = str(entry.get("step", ""))
            self.seen.add(name)
            if not self._wanted(name):
                continue
            if self.as_json:
                print(json.dumps(entry))
            else:
                self._text(entry, name)
        sys.stdout.flush()

    def end(self) -> None:
        """Raises UsageError where a step was asked for that the job has not."""
        if self.step is None or any(self._wanted(name) for name in self.seen):
            return
        ran = {str(one.get(key)) for one in self.client.steps(self.job_id) for key in ("name", "log") if one.get(key)}
        if not any(self._wanted(name) for name in ran):
            known = ", ".join(sorted(ran | self.seen)) or "none has begun"
            raise UsageError(f"No step {self.step} of this job has run.", hint=f"Its steps so far: {known}")

    def _wanted(self, name: str) -> bool:
        return self.step is None or re.fullmatch(re.escape(self.step) + r"(_\d+)?", name) is not None

    def _text(self, entry: Mapping[str, Any], name: str) -> None:
        attempt = int(entry.get("attempt") or 1)
        if self._labels is None:  # a job of one step needs no labels
            total = (self.client.job(self.job_id).get("steps") or {}).get("total")
            self._labels = total != 1
        if (attempt, name) != self._last:
            begun = self._last[0] if self._last else 1
            lines = [f"-------- attempt {attempt} --------"] if attempt != begun else []
            lines += [f"== {name} =="] if self._labels else []
            text = "".join(f"{line}\n" for line in lines)
            sys.stdout.write(plain(f"\n{text}" if self._open and text else text))
            self._last = (attempt, name)
        text = str(entry.get("text", ""))
        self._open = not text.endswith("\n")
        sys.stdout.write(plain(text) if sys.stdout.isatty() else text)
