"""Forms of our own pages: url-encoded bodies. That they are ours, the gate has seen by then (`api.browsers`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from broker.api import bodies
from broker.api.answers import prefers_html
from broker.api.problems import NotJson, WrongMediaType, row_of
from broker.errors import BrokerError, InputError, InputProblem

FORM = "application/x-www-form-urlencoded"
MOST_BYTES = 64 * 1024
MENDABLE = frozenset({400, 403, 404, 409, 422})  # statuses of what a person can change on the form and send again


def is_form(request: Request) -> bool:
    return bodies.media_type(request) == FORM


async def form(request: Request) -> dict[str, str]:
    """The fields of a form by name, without `csrf`; of a field that comes twice the last value counts.

    Raises BodyTooLarge, NotJson, WrongMediaType.
    """
    if not is_form(request):
        raise WrongMediaType(InputProblem("", "this is for the forms of the page"))
    body = await bodies.read(request, MOST_BYTES)
    try:
        fields = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=200))
    except ValueError:
        raise NotJson(InputProblem("", "the body is not a form in UTF-8")) from None
    fields.pop("csrf", None)
    return fields


def mendable(request: Request, refused: BrokerError) -> int:
    """The status with which a form is shown again, with what is wrong about it.

    Raises the error itself where a page of the form is no answer to it: to programs, and what no other words mend.
    """
    status = row_of(type(refused))[0]
    if status not in MENDABLE or not prefers_html(request):
        raise refused
    return status


def errors(refused: BrokerError | None) -> Mapping[str, str]:
    """What is wrong by the name of the field; under "" what is wrong with the whole."""
    if refused is None:
        return {}
    if not isinstance(refused, InputError):
        return {"": str(refused)}
    return {one.pointer.removeprefix("/"): one.detail for one in reversed(refused.problems)}


def number(text: str) -> Any:
    """A whole number where it is one, else a number; what is none is left for who reads it to say so."""
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text


def done(location: str) -> Response:
    """Where a browser goes once its form is done: it asks with GET, so that loading again repeats nothing."""
    return RedirectResponse(location, 303, {"Cache-Control": "no-store"})
