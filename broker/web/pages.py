"""Renders a template as a page: escaped, under a strict content security policy, usable without scripts."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Scope
from broker.web.amounts import clock, lasting, logtext, size
from broker.web.static import address

HTML = "text/html"
HEADERS: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    # not `no-referrer`: browsers then send `Origin: null` with forms, and the origin is what we check
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "Accept, Cookie",
}
# (path, words) of what the navigation offers
NAVIGATION = (
    ("/processes", "Processes"),
    ("/deploy", "Deploy"),
    ("/jobs", "Jobs"),
    ("/publications", "Publications"),
    ("/uploads", "Uploads"),
    ("/projects", "Projects"),
    ("/platforms", "Platforms"),
)
# of what belongs to the person: the menu behind their name
ACCOUNT = (
    ("/quota", "Quota"),
    ("/usage", "Usage"),
    ("/tokens", "Tokens"),
    ("/credentials", "Credentials"),
    ("/callbacks/secret", "Callback secret"),
    ("/audit", "Audit"),
)
# of what operators do
OPERATOR = (("/quotas", "Quotas of all"), ("/budgets", "Budgets"))


def page(
    request: Request,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    pictures: Sequence[str] = (),
    data: Sequence[str] = (),
    **context: Any,
) -> Response:
    """The page that `broker/web/templates/<template>` makes of the context.

    Every template also has: `site` (the broker's title), `base` (its address), `root` (what paths begin with), `here`
    (the path of this page), `principal` (None where nobody was asked), `person` (the name to show), `csrf` (for
    forms; empty where no session needs it) and `alternate`: where the same is JSON. A page that has no JSON says
    `alternate=None`.

    `pictures`, `data`: other origins from which this page may load pictures, and scripts of ours may fetch.
    """
    site = request.app.state.site
    base = site.base(request)
    principal = getattr(request.state, "principal", None)
    known = {
        "site": site.settings.api.title,
        "base": base,
        "root": urlsplit(base).path,
        "here": request.scope["path"],
        "principal": principal,
        "person": getattr(request.state, "person", None) or (principal.owner if principal else ""),
        "csrf": getattr(request.state, "csrf", ""),
        "navigation": NAVIGATION,
        "account": ACCOUNT + (OPERATOR if principal and Scope.ADMIN in principal.scopes else ()),
        "login_here": bool(site.settings.access.issuers),
        "alternate": _as_json(request, base),
    }
    text = _environment().get_template(template).render(known | context)
    policy = {"Content-Security-Policy": _policy(base, pictures, data)}
    return Response(text, status, {**HEADERS, **policy, **(headers or {})}, f"{HTML}; charset=utf-8")


def _policy(base: str, pictures: Sequence[str], data: Sequence[str]) -> str:
    """What a page may load and where its forms go: only here. Nothing inline, no plug-ins, no frames around it.

    Scripts come from our static files only: a script among the outputs of a job is at this origin too. (A policy
    cannot name an IPv6 address.)
    """
    scripts = "'self'" if "[" in base else f"{base}/static/"
    return "; ".join(
        (
            "default-src 'none'",
            "style-src 'self'",
            f"script-src {scripts}",
            " ".join(("img-src 'self' data:", *pictures)),
            " ".join(("connect-src 'self'", *data)),
            "form-action 'self'",
            "base-uri 'none'",
            "frame-ancestors 'none'",
        )
    )


def _as_json(request: Request, base: str) -> str:
    """The address of what the page shows, as JSON: the same query with f=json."""
    kept = [(key, value) for key, value in request.query_params.multi_items() if key != "f"]
    query = urlencode([*(kept if request.method == "GET" else ()), ("f", "json")])
    return f"{base}{quote(request.scope['path'])}?{query}"


@cache
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {"clock": clock, "lasting": lasting, "size": size, "logtext": logtext, "command": shlex.join}
    made.filters |= {
        "moment": moment,
        "shell": shlex.quote,
        "json": _json,
        "path": _path,
        "pretty": _pretty,
        "ticks": _ticks,
    }
    made.globals |= {"asset": address}
    return made


def moment(seconds: float) -> str:
    """A time for a person, in UTC, to the minute."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _json(value: Any) -> str:
    """JSON for a command line (the template escapes it for HTML)."""
    return json.dumps(value, ensure_ascii=False)


def _pretty(value: Any) -> str:
    """JSON over several lines."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def _ticks(text: str) -> Markup:
    """A text in which `this` is code."""
    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before


def _path(value: str) -> str:
    """One part of a path."""
    return quote(value, safe="")
