"""Asks a git server for one commit, over smart HTTP (gitprotocol-v2, gitprotocol-http of git), through an egress.

No git program runs here, so that there are no hooks, no submodules, no protocols but https, no configuration and no
files; every connection keeps the policy's rules. What comes back is not looked into: `packages.pack` reads it, in a
child that can reach nothing.
"""

from __future__ import annotations

import re

from broker.egress.answer import FetchError, shown
from broker.egress.client import Egress

_MAX_OFFER = 64 * 1024
_SERVICE = "/info/refs?service=git-upload-pack"
_HEADERS = {"Git-Protocol": "version=2", "User-Agent": "git/2.40 (earthcode-broker)"}
_ASK = _HEADERS | {
    "Content-Type": "application/x-git-upload-pack-request",
    "Accept": "application/x-git-upload-pack-result",
}
_FETCH = re.compile(rb"[0-9a-f]{4}fetch(?:=([a-z -]*))?\n")


def commit(egress: Egress, repository: str, name: str, *, largest: int, limit: int) -> bytes:
    """A server's answer (at most `limit` bytes) with the commit `name` (40 hex digits) and its files: without history,
    and without files of more than `largest` bytes where the server can leave them out.

    Raises FetchError, EgressRefused.
    """
    url, features = _offer(egress, repository)
    lines = [b"command=fetch", None, b"no-progress", b"deepen 1"]
    if "filter" in features:
        lines.append(b"filter blob:limit=%d" % (largest + 1))
    lines += [b"want " + name.encode(), b"done"]
    body = b"".join(b"0001" if line is None else b"%04x%s\n" % (len(line) + 5, line) for line in lines) + b"0000"
    with egress.request("POST", url + "/git-upload-pack", headers=_ASK, body=body, redirects=0, limit=limit) as answer:
        if answer.status != 200 or answer.media_type != "application/x-git-upload-pack-result":
            raise _refusal(repository, f"does not give its files (HTTP {answer.status})")
        return answer.read()


def _offer(egress: Egress, repository: str) -> tuple[str, list[str]]:
    """Where the repository really is (hosts redirect to the names that theirs got), and what `fetch` can do there."""
    with egress.request("GET", repository + _SERVICE, headers=_HEADERS, limit=_MAX_OFFER) as answer:
        status, media, url = answer.status, answer.media_type, answer.url
        found = answer.read() if status == 200 else b""
    if status != 200:
        raise _refusal(repository, f"answers with HTTP {status}")
    if media != "application/x-git-upload-pack-advertisement" or not url.endswith(_SERVICE):
        raise _refusal(repository, "is not a git repository")
    offered = _FETCH.search(found)
    if b"version 2\n" not in found or offered is None:
        raise _refusal(repository, "is at a server that does not speak version 2 of git's protocol")
    return url.removesuffix(_SERVICE), (offered[1] or b"").decode().split()


def _refusal(repository: str, why: str) -> FetchError:
    hint = "Give the address that `git clone` takes. Repositories that ask for a password are not read."
    return FetchError(f"{shown(repository)} {why}.", url=repository, hint=hint)
