"""Notify: one try to tell a subscriber how its job is, and what becomes of the delivery."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from broker.access import webhooks
from broker.access.principal import Principal, Scope
from broker.access.vault import Vault
from broker.egress import Egress, FetchError, shown
from broker.errors import EgressRefused, NoSuchJob
from broker.execution import callbacksecret
from broker.jobs.lifecycle import backoff
from broker.jobs.model import Job
from broker.store import audit, callbacks, jobs
from broker.store.callbacks import DELIVERED, GIVEN_UP, PENDING, Callback
from broker.store.database import Database

LONGEST = 4 * 3600.0  # seconds between two tries
GONE = 410  # a receiver that wants no more of it
Document = Callable[[Job, Callback], bytes]


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds: until the second try (then doubling), and until a delivery is given up."""

    retry: float
    give_up: float


@dataclass(frozen=True, slots=True)
class Said:
    """What a try came to. `final`: no other try will do better; `after`: seconds that the receiver asked for."""

    status: int | None
    message: str
    final: bool = False
    after: float = 0.0

    @property
    def taken(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def deliver(
    database: Database, egress: Egress, vault: Vault, taken: Callback, document: Document, terms: Terms
) -> str | None:
    """Try once; the delivery's state from now on, None where its job is gone or somebody else has it.

    `document` makes the body. Raises StorageError and SetupError; the delivery is then tried again when its claim ends.
    """
    try:
        with database.read() as tx:
            job = jobs.get_light(tx, taken.job_id)
    except NoSuchJob:
        return None
    body = document(job, taken)
    keys = callbacksecret.of(database, vault, taken.owner).signing
    message_id = f"{taken.job_id}-{taken.id}"
    fields = {
        "Link": f'<{(job.subscriber or {}).get("base", "")}/jobs/{job.id}>; rel="monitor"',
        **webhooks.headers(message_id, time.time(), body, keys),
    }
    return settle(database, taken, _told(egress, taken.uri, body, fields), terms)


def settle(database: Database, taken: Callback, said: Said, terms: Terms) -> str | None:
    """Write down what a try came to; the delivery's state."""
    again = backoff(taken.tries - 1, terms.retry, LONGEST) * random.uniform(1.0, 1.2)  # noqa: S311 - no secret
    again = min(max(again, said.after), LONGEST)
    if said.taken:
        state = DELIVERED
    elif said.final or taken.updated + again > taken.created + terms.give_up:
        state = GIVEN_UP
    else:
        state = PENDING
    with database.write() as tx:
        ours = callbacks.finish(tx, taken, state, status=said.status, message=said.message, again=again)
    return state if ours else None


def _told(egress: Egress, uri: str, body: bytes, fields: Mapping[str, str]) -> Said:
    """POST once."""
    try:
        reply = egress.post_json(uri, body, headers=fields)
    except EgressRefused as error:
        return Said(None, error.detail, final=True)
    except FetchError as error:
        return Said(error.status, error.detail)
    status, after = reply.status, reply.headers.get("Retry-After", "")
    if 200 <= status < 300:
        return Said(status, "")
    why = " (redirects are not followed)" if 300 <= status < 400 else ""
    return Said(
        status,
        f"{shown(uri)} answered {status}{why}.",
        final=status == GONE,
        after=float(after[:9]) if after.isdecimal() else 0.0,
    )


def again(database: Database, principal: Principal, job_id: str) -> int:
    """Deliver once more what was given up of a job; how many. Raises NoSuchJob, Forbidden."""
    principal.need(Scope.RUN)
    with database.write() as tx:
        jobs.get_to_change(tx, job_id, principal.reach)
        count = callbacks.again(tx, job_id)
        audit.record(tx, audit.entry(principal, "repeat-callbacks", f"job/{job_id}", callbacks=count))
    return count
