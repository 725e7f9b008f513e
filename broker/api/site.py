"""What the routes work with: the broker, its rows, its queue, and the address that clients see."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast
from urllib.parse import unquote, urlsplit

from starlette.requests import Request

from broker.api.authentication import Gate
from broker.api.line import Line
from broker.api.rate import Rates
from broker.api.refusals import Refusals
from broker.api.rows import Rows
from broker.api.trouble import Trouble
from broker.bootstrap import Broker
from broker.queue.relay import Relay
from broker.queue.wakeups import Wakeups
from broker.settings import Settings

_HOST = re.compile(r"[A-Za-z0-9.\-_]+(:\d{1,5})?\Z|\[[0-9a-fA-F:.]+\](:\d{1,5})?\Z")
_UPLOAD = re.compile(r"/uploads/([0-9a-f-]{36})(?:/content)?/?\Z")


@dataclass(frozen=True)
class Site:
    """One running API process."""

    broker: Broker
    rows: Rows
    gate: Gate
    relay: Relay
    wakeups: Wakeups
    line: Line
    trouble: Trouble
    rates: Rates | None
    refusals: Refusals

    @property
    def settings(self) -> Settings:
        return self.broker.settings

    def base(self, request: Request) -> str:
        """The address before all paths, without a trailing slash: the configured one, else where the client called.

        X-Forwarded-* headers are not looked at: anybody can send them. Behind a proxy, set `api.url`.
        """
        if self.settings.api.url is not None:
            return self.settings.public_url
        host = request.headers.get("host", "")
        if not _HOST.match(host):
            return self.settings.public_url
        return f"{request.scope['scheme']}://{host}"

    def upload_id(self, href: str) -> str | None:
        """Which of our uploads an href names, None when it names none: our host and /uploads/<id>, or only that."""
        try:
            parts = urlsplit(href)
            port = parts.port
        except ValueError:
            return None
        found = _UPLOAD.search(unquote(parts.path))
        if found is None or parts.query:
            return None
        own = urlsplit(self.settings.public_url)
        ours = {(own.hostname, own.port), ("127.0.0.1", self.settings.api.port), ("localhost", self.settings.api.port)}
        if parts.netloc and (parts.hostname, port) not in ours:
            return None
        return found[1]


def site_of(request: Request) -> Site:
    return cast(Site, request.app.state.site)
