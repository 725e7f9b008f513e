"""The body and the headers of an execution: execute.yaml with our members, and Prefer (RFC 7240)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Any

from starlette.requests import Request

from broker.errors import InputError, InputProblem, InvalidParameter
from broker.execution.accept import ExecuteRequest, Key
from broker.jobs.secrets import origin
from broker.store.callbacks import FAILED, IN_PROGRESS, SUCCESS

MEMBERS = ("inputs", "outputs", "response", "title", "tags", "platform", "shared", "subscriber", "reuse", "publish")
IGNORED = frozenset({"mode", "process", "id", "$schema"})  # of other versions and clients; Prefer decides the mode
OUTPUT_MEMBERS = frozenset({"format", "transmissionMode"})
SUBSCRIBER = {
    "successUri": SUCCESS,
    "successUrl": SUCCESS,
    "inProgressUri": IN_PROGRESS,
    "failedUri": FAILED,
}  # successUrl: as subscriber.yaml of 1.0 misspells it
LONGEST_URI = 2000
_PREFERENCE = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+')  # between commas, of which some are in quotes
MOST_TAGS = 32
LONGEST_TITLE = 500
MOST_OUTPUTS = 1000
MOST_PROBLEMS = 50  # that are looked for, and told


def execute_request(body: Mapping[str, Any]) -> ExecuteRequest:
    """Check the members of the body; the inputs themselves are checked against the package. Raises InputError."""
    problems: list[InputProblem] = []
    unknown = (name for name in body if name not in MEMBERS and name not in IGNORED)
    problems += (InputProblem("/" + _escaped(name), _unknown(name)) for name in islice(unknown, MOST_PROBLEMS))
    inputs = _typed(body, "inputs", dict, "an object: {input name: value}", problems) or {}
    outputs = _typed(body, "outputs", dict, "an object: {output name: {transmissionMode, format}}", problems)
    for name, wanted in islice((outputs or {}).items(), MOST_OUTPUTS):
        problems += _output_problems(name, wanted)
    if len(outputs or {}) > MOST_OUTPUTS:
        problems.append(InputProblem("/outputs", f"names more than {MOST_OUTPUTS} outputs"))
    response = body.get("response", "raw")
    if response not in ("raw", "document"):
        problems.append(InputProblem("/response", "is neither raw nor document"))
    title = _typed(body, "title", str, "a text", problems) or ""
    if len(title) > LONGEST_TITLE or not title.isprintable():
        problems.append(InputProblem("/title", f"is not one line of at most {LONGEST_TITLE} characters"))
    platform = _typed(body, "platform", str, "the name of a platform", problems)
    shared = body.get("shared", "private")
    if shared not in ("private", "project"):
        problems.append(InputProblem("/shared", "is neither private nor project (with which the job runs)"))
    subscriber = _subscriber(body, problems) if "subscriber" in body else None
    tags = _typed(body, "tags", list, "a list of texts", problems) or []
    if len(tags) > MOST_TAGS or not all(isinstance(tag, str) for tag in tags):
        problems.append(InputProblem("/tags", f"is not a list of at most {MOST_TAGS} texts"))
    extra: dict[str, Any] = {} if "response" in body else {"responseDefault": True}
    if "reuse" in body:
        extra["reuse"] = _typed(body, "reuse", bool, "true or false", problems)
    wish = _typed(body, "publish", dict, "an object: where the job is published, and with what", problems)
    if problems:
        raise InputError(*problems[:MOST_PROBLEMS])
    return ExecuteRequest(
        inputs=inputs,
        outputs=outputs or None,
        response=response,
        title=title,
        tags=tuple(dict.fromkeys(tags)),
        platform=platform,
        shared=shared,
        subscriber=subscriber,
        wish=wish,
        extra=extra,
    )


def _unknown(name: str) -> str:
    near = get_close_matches(name, MEMBERS, 1, 0.6)
    return f"is not a member of an execute request{f'; did you mean {near[0]!r}?' if near else ''}"


def _subscriber(body: Mapping[str, Any], problems: list[InputProblem]) -> dict[str, str] | None:
    """Kind of callback -> its address, None where nobody is to be told."""
    given = _typed(body, "subscriber", dict, "an object: {successUri, inProgressUri, failedUri}", problems) or {}
    found: dict[str, str] = {}
    for name, uri in given.items():
        at = f"/subscriber/{_escaped(name)}"
        kind = SUBSCRIBER.get(name)
        if kind is None:
            problems.append(InputProblem(at, "is none of successUri, inProgressUri, failedUri"))
        elif not isinstance(uri, str) or len(uri) > LONGEST_URI or origin(uri) is None:
            problems.append(InputProblem(at, f"is not an https address of at most {LONGEST_URI} characters"))
        elif found.setdefault(kind, uri) != uri:
            problems.append(InputProblem(at, "successUri and successUrl are the same thing, with two values here"))
    return found or None


def _escaped(name: str) -> str:
    return name[:100].replace("~", "~0").replace("/", "~1")


def _typed(body: Mapping[str, Any], name: str, kind: type, said: str, problems: list[InputProblem]) -> Any:
    value = body.get(name)
    if value is None or isinstance(value, kind):
        return value
    problems.append(InputProblem(f"/{name}", f"is not {said}"))
    return None


def _output_problems(name: str, wanted: Any) -> list[InputProblem]:
    at = f"/outputs/{_escaped(name)}"
    if not isinstance(wanted, dict):
        return [InputProblem(at, "is not an object: {transmissionMode, format}")]
    problems = []
    if wanted.get("transmissionMode", "value") not in ("value", "reference"):
        problems.append(InputProblem(f"{at}/transmissionMode", "is neither value nor reference"))
    if not isinstance(wanted.get("format", {}), dict):
        problems.append(InputProblem(f"{at}/format", "is not an object: {mediaType, encoding, schema}"))
    return problems


@dataclass(frozen=True, slots=True)
class Preference:
    """What `Prefer` asks: async or not, and how many seconds to wait at most (None: not said).

    Both together mean: wait so long, and go on async then (RFC 7240 4.3).
    """

    respond_async: bool = False
    wait: float | None = None

    @property
    def waits(self) -> bool:
        return not self.respond_async or bool(self.wait)

    def seconds(self, most: float) -> float:
        """How long to wait; `most`: the server does."""
        return most if self.wait is None else min(self.wait, most)

    def applied(self, most: float, *, done: bool) -> dict[str, str]:
        """The header Preference-Applied, for a job that was `done` in time or goes on async: what was kept to."""
        kept = ["respond-async"] if self.respond_async and not done else []
        if self.wait is not None and self.wait <= most:
            kept.append(f"wait={int(self.wait)}")
        return {"Preference-Applied": ", ".join(kept)} if kept else {}


def preference(request: Request) -> Preference:
    """Read Prefer; what is unknown or malformed in it is ignored, and of two values the first counts (RFC 7240 2)."""
    respond_async = False
    wait: float | None = None
    for header in request.headers.getlist("prefer"):
        for part in _PREFERENCE.findall(header):
            name, _, value = part.partition(";")[0].partition("=")
            name, value = name.strip().lower(), value.strip().strip('"')
            if name == "respond-async":
                respond_async = True
            elif name == "wait" and value.isascii() and value.isdecimal() and wait is None:
                wait = float(value[:9])
    return Preference(respond_async, wait)


def idempotency_key(request: Request, process_id: str, body: bytes) -> Key | None:
    """The Idempotency-Key, bound to process and body. Raises InvalidParameter for one that is not usable."""
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key) <= 255 or not key.isascii() or not key.isprintable():
        raise InvalidParameter(InputProblem("Idempotency-Key", "is not 1 to 255 printable ASCII characters"))
    # a request for another project is another request
    whom = request.headers.get("acting-project", "").encode()
    return Key(key, hashlib.sha256(process_id.encode() + b"\0" + whom + body).hexdigest())
