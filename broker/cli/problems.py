"""Problem documents (RFC 9457) and exceptions: each turned into the other, and into an exit code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from broker import errors
from broker.errors import BrokerError, InputError, InputProblem, PackageError, PlatformRefused, PlatformUnavailable

OK, FAILED, USAGE, UNREACHABLE, UNSUPPORTED = 0, 1, 2, 3, 33


class Unreachable(BrokerError):
    """Nobody answers at the server's address, or no broker does."""

    reason = "unreachable"


class UsageError(BrokerError):
    """The command line asks for something that cannot be."""

    fault = "input"
    reason = "usage"


class Answer(Exception):
    """The cause of an exception that a server's answer was turned into: HTTP status and problem document."""

    def __init__(self, status: int, document: Mapping[str, Any]) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.document = document


def _by_reason(cls: type[BrokerError]) -> dict[str, type[BrokerError]]:
    found = {cls.reason: cls}
    for child in cls.__subclasses__():
        if child.__module__ == errors.__name__:
            found |= _by_reason(child)
    return found


_CLASSES = _by_reason(BrokerError)
_BY_STATUS: dict[int, type[BrokerError]] = {
    400: InputError,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.Missing,
    409: errors.Conflict,
    413: errors.LimitError,
    415: errors.UnsupportedMediaType,
    422: InputError,
    429: errors.LimitError,
    503: PlatformUnavailable,
}


def read(status: int, document: Mapping[str, Any], *, retry_after: float | None = None) -> BrokerError:
    """The exception that a problem document tells of, of the class that the server raised (as far as known).

    Its `__cause__` is the Answer, so that nothing of the document is lost.
    """
    kind = re.split(r"[/:#]", str(document.get("type", "")).rstrip("/"))[-1]
    cls = _CLASSES.get(kind) or _CLASSES.get(str(document.get("reason"))) or _BY_STATUS.get(status, BrokerError)
    detail = str(document.get("detail") or document.get("title") or f"The server answered {status}.")
    hint = document.get("hint")
    error = _make(cls, detail, hint if isinstance(hint, str) else None, document, retry_after)
    error.__cause__ = Answer(status, document)
    return error


def _make(
    cls: type[BrokerError], detail: str, hint: str | None, document: Mapping[str, Any], retry_after: float | None
) -> BrokerError:
    fault, reason = str(document.get("fault") or ""), str(document.get("reason") or "")
    if issubclass(cls, InputError):
        given = document.get("errors") or ()
        found = [
            InputProblem(str(one.get("pointer", "")), str(one.get("detail", "")))
            for one in given
            if isinstance(one, Mapping)
        ]
        return cls(*(found or [InputProblem("", detail)]), hint=hint)
    if issubclass(cls, PackageError):
        place = document.get("place") or {}
        return cls(detail, file=place.get("file"), line=place.get("line"), column=place.get("column"), hint=hint)
    if issubclass(cls, PlatformUnavailable):
        return cls(detail, hint=hint, retry_after=retry_after)
    if issubclass(cls, PlatformRefused):
        return cls(detail, hint=hint, fault_of=fault or "platform", code=reason or "platform-refused")
    if issubclass(cls, errors.JobFailed):
        return cls(detail, hint=hint, failed_fault=fault or "broker", failed_reason=reason or "broker-error")
    return cls(detail, hint=hint)


def write(error: BrokerError) -> dict[str, Any]:
    """The problem document of an exception: the server's own one where it came from a server, with our hint."""
    if isinstance(error.__cause__, Answer):
        own = {"hint": error.hint} if error.hint else {}
        return {"status": error.__cause__.status, **error.__cause__.document, **own}
    document: dict[str, Any] = {
        "type": f"urn:earthcode-broker:problem:{error.reason}",
        "title": error.reason.replace("-", " "),
        "detail": error.detail,
        "hint": error.hint,
        "fault": error.fault,
        "reason": error.reason,
    }
    if isinstance(error, PackageError):
        place = {"file": error.file, "line": error.line, "column": error.column}
        document["place"] = {key: value for key, value in place.items() if value is not None} or None
    if isinstance(error, InputError):
        document["errors"] = [{"pointer": one.pointer, "detail": one.detail} for one in error.problems]
    return {key: value for key, value in document.items() if value is not None}


def exit_code(error: BrokerError) -> int:
    """How a command ends that met this error."""
    if isinstance(error, Unreachable):
        return UNREACHABLE
    if isinstance(error, (UsageError, errors.InvalidParameter)):
        return USAGE
    if isinstance(error, errors.UnsupportedPackage):
        return UNSUPPORTED
    return FAILED
