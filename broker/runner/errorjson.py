"""Errors of `broker.errors` as JSON, to cross from a child of the zygote to whoever asked."""

from __future__ import annotations

from typing import Any

from broker import errors
from broker.errors import BrokerError, InputError, InputProblem, PackageError


def to_json(error: BrokerError) -> dict[str, Any]:
    """An error of `broker.errors` as JSON; `from_json` makes the same one of it."""
    value: dict[str, Any] = {"type": type(error).__name__, "detail": error.detail, "hint": error.hint}
    if isinstance(error, PackageError):
        value |= {"file": error.file, "line": error.line, "column": error.column}
    if isinstance(error, InputError):
        value["problems"] = [[problem.pointer, problem.detail] for problem in error.problems]
    return value


def from_json(value: dict[str, Any]) -> BrokerError:
    """The error that `to_json` described; a BrokerError for a type that is not known here."""
    kind = getattr(errors, str(value.get("type")), None)
    if not (isinstance(kind, type) and issubclass(kind, BrokerError)):
        kind = BrokerError
    if issubclass(kind, InputError):
        return InputError(*(InputProblem(*problem) for problem in value.get("problems", ())), hint=value.get("hint"))
    extra: dict[str, Any] = {}
    if issubclass(kind, PackageError):
        extra = {key: value.get(key) for key in ("file", "line", "column")}
    return kind(value.get("detail") or "", hint=value.get("hint"), **extra)
