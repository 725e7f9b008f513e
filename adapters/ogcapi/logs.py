"""The log of a job, where the server links to one: text, a list of lines (Weaver), or pages with a cursor (brokers of
our kind)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from adapters.ogcapi.server import JSON, Server
from broker.platform import LogChunk, LogPage

PAGE = 2**20  # characters
STREAM = "remote"
ACCEPT = f"{JSON}, text/plain;q=0.9"


def page(server: Server, told: Mapping[str, Any], cursor: str | None) -> LogPage:
    """What comes after the cursor: the server's own, or how many characters were read. Raises as `Server.get`."""
    where = _address(server, told)
    if where is None:
        return LogPage((), cursor)
    seen = int(cursor or 0)
    reply = server.get(f"{where}?after={seen}", ACCEPT)
    if reply is None:
        return LogPage((), cursor)
    found = reply.json() if reply.media_type.endswith("json") else None
    if isinstance(found, Mapping) and isinstance(found.get("cursor"), int):
        chunks = [one for one in found.get("logs") or () if isinstance(one, Mapping)]
        texts = tuple(LogChunk(str(one.get("step") or STREAM), str(one.get("text") or "")) for one in chunks)
        return LogPage(texts, str(found["cursor"]), found.get("more") is True)
    text = "".join(f"{line}\n" for line in found) if isinstance(found, list) else reply.body.decode("utf-8", "replace")
    new = text[seen : seen + PAGE]
    return LogPage((LogChunk(STREAM, new),) if new else (), str(seen + len(new)), seen + len(new) < len(text))


def _address(server: Server, told: Mapping[str, Any]) -> str | None:
    """Where the log is: by relation, or by the address's last word."""
    links = told.get("links")
    for one in links if isinstance(links, list) else ():
        href = one.get("href") if isinstance(one, Mapping) else None
        if not isinstance(href, str):
            continue
        found = urljoin(f"{server.url}/", href).partition("?")[0]
        words = {str(one.get("rel")).rpartition("/")[2], urlsplit(found).path.rpartition("/")[2]}
        if words & {"log", "logs"} and server.own(found):
            return found
    return None
