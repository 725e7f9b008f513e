"""The life of a publication: its states, what may follow what, and what a person reads of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any


class State(StrEnum):
    """AWAITING: somebody has to agree; WAITING: for the publication that it builds on; PENDING: nothing is sent yet;
    SENDING: it has begun; PUBLISHED: a repository has it; PROPOSED: somebody has to merge it; LIVE: readers find it.

    FAILED: the target refuses it as it is (it can be tried again); CLOSED: a proposal that was not merged; REJECTED:
    by who had to agree.
    """

    AWAITING = "awaiting-approval"
    WAITING = "waiting"
    PENDING = "pending"
    SENDING = "sending"
    PUBLISHED = "published"
    PROPOSED = "proposed"
    MERGED = "merged"
    LIVE = "live"
    FAILED = "failed"
    CLOSED = "closed"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


_S = State
BEFORE = frozenset({_S.AWAITING, _S.WAITING, _S.PENDING})  # nothing has left yet
WORKED = frozenset({_S.PENDING, _S.SENDING, _S.PROPOSED, _S.MERGED})  # the broker goes on with these by itself
HOLDING = BEFORE | {_S.SENDING, _S.PROPOSED}  # the results are needed
DONE = frozenset({_S.PUBLISHED, _S.MERGED, _S.LIVE})  # others may build on it
LOST = frozenset({_S.CLOSED, _S.REJECTED, _S.WITHDRAWN})  # it will never be there
_SENT = frozenset({_S.SENDING, _S.PUBLISHED, _S.PROPOSED, _S.MERGED, _S.LIVE, _S.CLOSED, _S.FAILED, _S.WITHDRAWN})
LEGAL: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        _S.AWAITING: frozenset({_S.WAITING, _S.PENDING, _S.FAILED, _S.REJECTED, _S.WITHDRAWN}),
        _S.WAITING: frozenset({_S.PENDING, _S.FAILED, _S.WITHDRAWN}),
        _S.PENDING: _SENT | {_S.AWAITING},  # what it changes is not what somebody agreed to
        _S.SENDING: _SENT | {_S.AWAITING},
        _S.PROPOSED: frozenset({_S.MERGED, _S.LIVE, _S.CLOSED, _S.FAILED, _S.WITHDRAWN}),
        _S.MERGED: frozenset({_S.LIVE}),
        _S.FAILED: frozenset({_S.PENDING, _S.WAITING, _S.WITHDRAWN}),
        _S.CLOSED: frozenset(),
        _S.PUBLISHED: frozenset(),
        _S.LIVE: frozenset(),
        _S.REJECTED: frozenset(),
        _S.WITHDRAWN: frozenset(),
    }
)
ITEM_STATES = ("registered", "verified")  # of an item that a repository has: nobody takes it back
_SAID = {
    _S.AWAITING: "Somebody has to agree before anything is sent.",
    _S.PENDING: "It is sent next.",
    _S.PUBLISHED: "It is published: every file was looked at where readers find it.",
    _S.MERGED: "It is merged; its address does not answer yet.",
    _S.LIVE: "It is live.",
    _S.CLOSED: "The proposal was closed without being merged.",
    _S.WITHDRAWN: "It was withdrawn.",
}


class IllegalTransition(Exception):
    """A state that cannot follow: an error of the broker's own."""


def check(old: State, new: State) -> None:
    """Raise IllegalTransition."""
    if new is not old and new not in LEGAL[old]:
        raise IllegalTransition(f"{old} -> {new}")


def said(state: State, receipt: Mapping[str, Any] | None) -> str:
    """One sentence on how it is, from its receipt."""
    if state is State.SENDING:
        return _sending(receipt or {})
    if state is State.PROPOSED:
        return _proposed(receipt or {})
    return _SAID.get(state, "")


def taken(receipt: Mapping[str, Any] | None) -> bool:
    """Whether a repository has something of it, which stays there."""
    items = (receipt or {}).get("items") or {}
    return any(one.get("state") in ITEM_STATES for one in items.values())


def _sending(receipt: Mapping[str, Any]) -> str:
    items = receipt.get("items") or {}
    if not items:
        return {
            "forking": "The catalog is copied to a repository of yours.",
            "committed": "The records are in your copy of the catalog; they are proposed next.",
        }.get(str(receipt.get("state")), "It is being sent.")
    sent = sum(len(one.get("sent") or ()) for one in items.values())
    there = sum(one.get("state") in ITEM_STATES for one in items.values())
    looked = sum(len(one.get("assets") or ()) for one in items.values())
    return f"{sent} files are sent, {there} of {len(items)} items registered, {looked} files looked at there."


def _proposed(receipt: Mapping[str, Any]) -> str:
    said = ["It is proposed: somebody there has to merge it."]
    if receipt.get("checks") == "failed":
        names = ", ".join(str(one.get("name")) for one in receipt.get("failed") or ())
        said.append(f"Its checks fail: {names}.")
    elif receipt.get("checks") in ("running", "passed"):
        said.append("Its checks pass." if receipt["checks"] == "passed" else "Its checks run.")
    if receipt.get("review") == "changes requested":
        wishes = "; ".join(f"{one.get('by')}: {one.get('text')}" for one in receipt.get("asked") or ())
        said.append(f"Changes are asked for ({wishes}): withdraw it and publish a correction.")
    elif receipt.get("review") == "approved":
        said.append("A reviewer agrees.")
    return " ".join(said)
