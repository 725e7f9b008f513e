"""Forms of our own pages: url-encoded bodies. That they are ours, the gate has seen by then (`api.browsers`)."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from broker.api import bodies
from broker.api.problems import NotJson
from broker.errors import InputProblem

FORM = "application/x-www-form-urlencoded"
MOST_BYTES = 64 * 1024


def is_form(request: Request) -> bool:
    return bodies.media_type(request) == FORM


async def form(request: Request) -> dict[str, str]:
    """The fields of a form by name, without `csrf`; of a field that comes twice the last value counts.

    Raises BodyTooLarge, NotJson.
    """
    body = await bodies.read(request, MOST_BYTES)
    try:
        fields = dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100))
    except ValueError:
        raise NotJson(InputProblem("", "the body is not a form in UTF-8")) from None
    fields.pop("csrf", None)
    return fields


def done(location: str) -> Response:
    """Where a browser goes once its form is done: it asks with GET, so that loading again repeats nothing."""
    return RedirectResponse(location, 303, {"Cache-Control": "no-store"})
