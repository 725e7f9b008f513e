"""Answers: JSON by orjson, the representation a client asks for, links, and times as OGC documents write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response

from broker.errors import InputProblem, InvalidParameter
from broker.web import HTML

JSON = "application/json"
LONGEST_ACCEPT = 1000
OGC = "http://www.opengis.net/def/rel/ogc/1.0/"


class Json(Response):
    """A JSON document, rendered at once."""

    media_type = JSON

    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


def link(href: str, rel: str, title: str | None = None, media_type: str | None = JSON) -> dict[str, str]:
    full = {"href": href, "rel": rel, "type": media_type, "title": title}
    return {key: value for key, value in full.items() if value is not None}


@lru_cache(4096)
def time(seconds: float) -> str:
    """RFC 3339 in UTC, milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sharing(shared: str, project: str | None) -> dict[str, Any]:
    """The members of a document that say with whom it is shared."""
    return {"shared": shared} | ({"sharedWith": project} if project is not None else {})


def representation(request: Request, offers: Mapping[str, str]) -> str:
    """The name of the representation to send: `?f=` decides, else Accept, else the first offer.

    `offers`: name -> media type, the default first. A client whose Accept fits nothing gets the default (RFC 9110
    12.5.1 leaves that to the server). Raises InvalidParameter for an `f` that is not offered.
    """
    names = list(offers)
    if wanted := request.query_params.get("f"):
        if wanted not in offers:
            raise InvalidParameter(InputProblem("?f", f"there is no representation {wanted!r}; use {', '.join(names)}"))
        return wanted
    accept = request.headers.get("accept")
    if not accept or accept == "*/*":
        return names[0]
    return _accepted(accept[:LONGEST_ACCEPT], tuple(offers.items())) or names[0]


def prefers_html(request: Request) -> bool:
    """Whether an error is to be shown as a page: `?f=html`, or an Accept that weighs HTML most."""
    wanted = request.query_params.get("f")
    if wanted is not None:
        return wanted == "html"
    accept = request.headers.get("accept", "")
    return HTML in accept and _accepted(accept[:LONGEST_ACCEPT], (("json", JSON), ("html", HTML))) == "html"


@lru_cache(256)
def _accepted(accept: str, offers: tuple[tuple[str, str], ...]) -> str | None:
    """The offer that Accept weighs most; among equals the one it names most exactly, then the first offer."""
    best: tuple[float, int, int] | None = None
    chosen = None
    ranges = [_range(part) for part in accept.split(",")]
    for position, (name, media_type) in enumerate(offers):
        plain = media_type.partition(";")[0]
        for kind, weight in ranges:
            exact = 2 if kind == plain else 1 if kind == plain.partition("/")[0] + "/*" else 0 if kind == "*/*" else -1
            if exact < 0 or weight <= 0:
                continue
            rank = (weight, exact, -position)
            if best is None or rank > best:
                best, chosen = rank, name
    return chosen


def _range(part: str) -> tuple[str, float]:
    kind, *parameters = (piece.strip().lower() for piece in part.split(";"))
    weight = 1.0
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                weight = float(parameter[2:])
            except ValueError:
                weight = 0.0
    return kind, weight


def page_links(
    base: str, path: str, request: Request, following: Mapping[str, str] | None, title: str
) -> list[dict[str, str]]:
    """`self`, `alternate` for the page, and `next` with the same filters when there is more (`following`: what the next
    page's query adds)."""
    query = request.url.query
    links = [link(f"{base}{path}?{query}" if query else base + path, "self", title)]
    asked = [(key, value) for key, value in request.query_params.multi_items() if key != "f"]
    links.append(link(f"{base}{path}?{urlencode([*asked, ('f', 'html')])}", "alternate", f"{title} as a page", HTML))
    if following:
        kept: Sequence[tuple[str, str]] = [
            (key, value) for key, value in request.query_params.multi_items() if key not in following
        ]
        links.append(link(f"{base}{path}?{urlencode([*kept, *following.items()])}", "next", "The next page"))
    return links
