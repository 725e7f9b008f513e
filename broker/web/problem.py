"""A problem document as a page: what went wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from broker.web.pages import page

TODO: Mapping[int, str] = {
    400: "Go back, mend what is named above, and try again.",
    401: "Log in. If you have just done so, your session may have ended.",
    403: "Ask its owner, a maintainer of the project, or the operator of this broker.",
    404: "Check the address. What belongs to somebody else is only shown once it is shared with you.",
    405: "Go back and use the links and forms of the page.",
    409: "Go back, load the page again to see how things stand, and try again.",
    410: "Go back: what was here is gone for good.",
    413: "Send less, or ask the operator of this broker for more room.",
    429: "Wait a while, then try again.",
    503: "Wait a minute, then try again.",
}
OF_INPUT = "Go back, mend what is named above, and try again."
OF_OURS = "Try again in a minute. If it happens again, tell the operator of this broker when it happened."


def problem_page(request: Request, problem: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    """The page of a problem document (RFC 7807), with its status; who is not logged in finds the way to do so."""
    status = int(problem["status"])
    return page(
        request,
        "problem.html",
        status=status,
        headers=headers,
        title=problem["title"],
        alternate=None,
        problem={"errors": (), "reference": None, "reason": "unknown", "detail": "", **problem},
        todo=problem.get("hint") or TODO.get(status) or (OF_INPUT if status < 500 else OF_OURS),
        login=_login(request) if status == 401 else None,
    )


def _login(request: Request) -> str | None:
    """Where a browser logs in and comes back from; None where nobody can log in by browser."""
    if not request.app.state.site.settings.access.issuers:
        return None
    path = request.scope["path"]
    if request.method != "GET" or path.startswith("/login"):
        return "/login"
    query = request.scope["query_string"].decode("latin-1")
    return "/login?" + urlencode({"next": f"{path}?{query}" if query else path})
