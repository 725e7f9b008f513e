"""Inputs that the server refused: said so that they can be mended in the job order they came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from broker.cli.joborder import JobOrder
from broker.errors import InputError, InputProblem

# What the server says of a plain text where it wants a File or Directory.
_WANTS_FILE = re.compile(r"is not a link|is a file of one computer|must be .*\b(File|Directory)\b")


@contextmanager
def explained(order: JobOrder) -> Iterator[None]:
    """Where a text is refused that names a file here, raise the InputError with what to write instead."""
    try:
        yield
    except InputError as error:
        problems = [_explained(one, order) for one in error.problems]
        if problems == list(error.problems):
            raise
        raise InputError(*problems, hint=error.hint) from error


def _explained(problem: InputProblem, order: JobOrder) -> InputProblem:
    value = _at(order.inputs, problem.pointer)
    if not isinstance(value, str) or not value or not _WANTS_FILE.search(problem.detail):
        return problem
    found = next((path for path in (order.directory / value, Path(value)) if path.exists()), None)
    if found is None:
        return problem
    kind = "Directory" if found.is_dir() else "File"
    name = problem.pointer.split("/")[2]
    return InputProblem(
        problem.pointer,
        f"{value} is a text, and names a {'directory' if found.is_dir() else 'file'}: "
        f"write {{class: {kind}, path: {value}}}, or on the command line -i {name}=@{value}",
    )


def _at(inputs: Mapping[str, Any], pointer: str) -> Any:
    """The value that a pointer of the server (`/inputs/tables/0`) means; None where there is none."""
    value: Any = {"inputs": inputs}
    for part in pointer.split("/")[1:]:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value
