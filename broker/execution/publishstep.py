"""One step of a publication: one effect outside, and what became of it is saved.

Whoever dies between the two has it done once more by the next one, and each target finds again what it has.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from broker.errors import (
    AccessError,
    BrokerError,
    EgressRefused,
    InputError,
    Missing,
    TargetRefused,
    TargetUnavailable,
)
from broker.execution.hold import renewing
from broker.execution.publishdesk import Desk, Reading
from broker.execution.publishdocuments import keep
from broker.execution.publishdraft import complete
from broker.execution.publishplan import Items, Kept, extent_of, items_of, kept_by, maker
from broker.execution.publishsubject import of_publication
from broker.jobs import publication as life
from broker.jobs.lifecycle import backoff
from broker.jobs.publication import State
from broker.results.catalog import CatalogTarget, Make, receipt_of, valid
from broker.results.catalogplan import Plan
from broker.results.osc import HOME
from broker.results.target import done
from broker.results.tree import Tree
from broker.store import audit, publicationclaims, publications
from broker.store.publicationclaims import LEASE_SECONDS, LostClaim
from broker.store.publications import Publication

FIRST, LONGEST = 5.0, 3600.0  # seconds until a target that did not answer is asked again
LONGEST_PAUSE = 24 * 3600.0  # that a target may ask for
SELDOM = 24 * 3600.0  # between two looks for what is merged and not live
LARGEST = 16 * 2**20  # bytes of a record that is looked for
STUMBLES = 8  # errors of the broker's own in a row
_FINAL = (TargetRefused, InputError, Missing, AccessError, EgressRefused)
AGAIN = "It is no longer what somebody agreed to: look at what it changes now, and agree again."
log = logging.getLogger(__name__)


class _NotAgreed(Exception):
    """What would be sent is not what somebody agreed to."""


@dataclass(frozen=True, slots=True)
class Became:
    """What a step came to. `due_in`: seconds until the next; None: never."""

    state: State
    due_in: float | None = None
    message: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


def step(desk: Desk, taken: Publication) -> Publication | None:
    """Go one step on with a publication that was claimed; None where somebody else has it by then.

    The boundary of one publication: what is refused fails it, everything else is tried again later. Raises StorageError
    where the database does not answer.
    """
    files = _Sending(desk, taken)
    try:
        with renewing(files.renew, LEASE_SECONDS / 3):
            became = _taken_back(desk, taken) if taken.withdraw else _gone_on(desk, taken, files)
        columns = {"tries": 0, **became.columns}
    except _NotAgreed:
        became, columns = Became(State.AWAITING, None, AGAIN), {"agreed": None, "tries": 0}
    except LostClaim:
        return None
    except _FINAL as error:
        became, columns = _refused(taken, error), {"withdraw": False}
    except BrokerError as error:
        became, columns = _later(taken, error), {"tries": taken.tries + 1}
    except Exception:
        log.exception("the broker failed at the publication %s (%s)", taken.id, taken.state)
        became, columns = _stumbled(taken), {"tries": taken.tries + 1}
    try:
        with desk.database.write() as tx:
            said, due = became.message, became.due_in
            saved = publicationclaims.save(tx, taken, became.state, message=said, due_in=due, **columns)
            if saved.state not in (taken.state, State.SENDING):
                audit.record(tx, _entry(saved))
            return saved
    except LostClaim:
        return None


def _entry(saved: Publication) -> audit.Entry:
    """What the broker did in the name of who asked for it."""
    return audit.Entry(
        actor=saved.owner,
        project=saved.project,
        action=f"publication-{saved.state.value}",
        subject=f"publication/{saved.id}",
        delegate=saved.delegate,
        data={"target": saved.target, "jobs": list(saved.jobs)},
    )


def _refused(taken: Publication, error: BrokerError) -> Became:
    """It never works like this: whose fault it is, the words say."""
    if taken.withdraw:
        due = 0.0 if taken.state in life.WORKED else None
        return Became(taken.state, due, f"It cannot be taken back: {_told(error)}")
    if State.FAILED not in life.LEGAL[taken.state]:  # it is there: only nobody can look whether it is live
        return Became(taken.state, SELDOM, _told(error))
    return Became(State.FAILED, None, _told(error))


def _later(taken: Publication, error: BrokerError) -> Became:
    after = (error.retry_after if isinstance(error, TargetUnavailable) else None) or 0.0
    wait = max(min(after, LONGEST_PAUSE), backoff(taken.tries, FIRST, LONGEST))
    return Became(taken.state, wait, f"It is tried again later: {_told(error)}")


def _stumbled(taken: Publication) -> Became:
    if taken.tries + 1 >= STUMBLES:
        return Became(State.FAILED, None, "The broker fails at it: ask the operator, whose log says where.")
    wait = backoff(taken.tries, FIRST, LONGEST)
    return Became(taken.state, wait, "The broker failed at it in a way that nobody foresaw; it is tried again later.")


def _told(error: BrokerError) -> str:
    return f"{error.detail} {error.hint}" if error.hint else error.detail


class _Sending(Reading):
    """The files of a publication while its claim lasts: reading on after that raises LostClaim."""

    def __init__(self, desk: Desk, taken: Publication) -> None:
        super().__init__(desk.storage)
        self._database, self._taken = desk.database, taken
        self._lost = threading.Event()
        self._read = 0

    def progress(self, count: int) -> None:
        self._read = count
        if self._lost.is_set():
            raise LostClaim(self._taken.id)

    def renew(self) -> None:
        """Hold the claim longer; a person reads how far the file is that is being sent."""
        message = f"{self._read / 1e6:.0f} MB of the next file are sent." if self._read else None
        with self._database.write() as tx:
            if not publicationclaims.renew(tx, self._taken, message=message):
                self._lost.set()


# ---- on


def _gone_on(desk: Desk, taken: Publication, files: _Sending) -> Became:
    offer = desk.publishers.offer(taken.target)
    if offer.repository:
        return _planned(desk, taken) if taken.plan is None else _sent(desk, taken, files)
    if taken.state is State.MERGED:
        return _live(desk, taken, str(offer.home))
    request, make = catalog_plan(desk, taken)
    target = desk.publishers.catalog(taken.target, taken.owner, taken.project)
    if offer.kind == "bundle":
        receipt = _by_hand(target, _agreed(desk, taken, make), taken)
    elif taken.state is State.PROPOSED:
        receipt = target.observe(make, taken.receipt or {})
    else:
        receipt = target.step(_agreed(desk, taken, make), taken.receipt)
    states = {"proposed": State.PROPOSED, "merged": State.MERGED, "closed": State.CLOSED}
    state = states.get(receipt["state"], State.SENDING)
    due = {State.PROPOSED: desk.observe, State.CLOSED: None}.get(state, 0.0)
    return Became(state, due, None, {"receipt": receipt, "request": request})


def _by_hand(target: CatalogTarget, make: Make, taken: Publication) -> dict[str, Any]:
    """A bundle is proposed by a person: it is merged when the catalog has it all."""
    plan = valid(target.plan(make))
    return receipt_of(plan, "proposed" if plan.files else "merged")


def _planned(desk: Desk, taken: Publication) -> Became:
    """The plan, which never changes from then on, and the documents of it in storage."""
    request, made, prefix = items_plan(desk, taken)
    if taken.agreed not in (None, made.digest(request["collection"])):
        raise _NotAgreed
    if errors := [one for one in made.findings if one.level == "error"]:
        raise TargetRefused(" ".join(f"{one.field}: {one.message}" for one in errors))
    for run, found in made.documents:
        keep(desk.storage, run, found, prefix)
    target = desk.publishers.repository(taken.target, taken.owner, taken.project, request["collection"])
    return Became(State.SENDING, 0.0, None, {"request": request, "plan": target.plan(made.items)})


def items_plan(desk: Desk, found: Publication) -> tuple[dict[str, Any], Items, str]:
    """The complete request of a repository's publication, its items, and below which key their documents are kept.
    Raises NoSuchJob, InputError, StorageError."""
    with desk.database.read() as tx:
        subject = of_publication(tx, found)
    request = complete(desk, subject, found.request)
    request.setdefault("collection", desk.publishers.offer(found.target).collection)
    prefix = publications.documents(found)
    return request, items_of(desk, subject, request, prefix), prefix


def _sent(desk: Desk, taken: Publication, files: _Sending) -> Became:
    plan = taken.plan or {}
    target = desk.publishers.repository(taken.target, taken.owner, taken.project, plan["collection"])
    receipt = target.step(plan, taken.receipt, files)
    state, due = (State.PUBLISHED, None) if done(receipt) else (State.SENDING, 0.0)
    return Became(state, due, None, {"receipt": receipt})


def catalog_plan(desk: Desk, taken: Publication, *, expected: bool = False) -> tuple[dict[str, Any], Make]:
    """The complete request of a catalog's publication, and what makes its plan. `expected`: with the addresses that a
    repository is expected to give, which is the same before and after it gave them. Raises NoSuchJob, InputError."""
    with desk.database.read() as tx:
        subject = of_publication(tx, taken)
        repository = publications.get(tx, taken.after) if taken.after else None
    request = complete(desk, subject, taken.request)
    kept = kept_by(repository)
    if repository is not None and (expected or repository.plan):
        items = planned_items(desk, repository)
        extent = extent_of([one["item"] for one in items])
        if extent is not None:
            request.setdefault("extent", extent)
        if expected:
            kept = _expected(desk, repository, items)
    return request, maker(taken.id, taken.created, subject, request, kept, desk.home)


def planned_items(desk: Desk, found: Publication) -> Sequence[Mapping[str, Any]]:
    """The items of a repository's publication, also of what nobody has begun to send yet; of a catalog's, none."""
    if found.plan is not None:
        planned: list[Mapping[str, Any]] = found.plan["items"]
        return planned
    return items_plan(desk, found)[1].items if desk.publishers.offer(found.target).repository else ()


def _expected(desk: Desk, repository: Publication, items: Sequence[Mapping[str, Any]]) -> Kept:
    offer = desk.publishers.offer(repository.target)
    collection = repository.request.get("collection") or offer.collection
    return Kept.expected(f"{offer.reads}/collections/{collection}", items)


def agreed_digest(desk: Desk, found: Publication) -> str:
    """Of what a publication brings to its target; what others do there meanwhile, and the addresses that a repository
    gives to files, are no part of it. Raises as `catalog_plan`, TargetUnavailable."""
    if desk.publishers.offer(found.target).repository:
        request, made, _ = items_plan(desk, found)
        return made.digest(request["collection"])
    target = desk.publishers.catalog(found.target, found.owner, found.project, reading=True)
    return target.plan(catalog_plan(desk, found, expected=True)[1]).digest


def _agreed(desk: Desk, taken: Publication, make: Make) -> Make:
    """Makes a plan only of what somebody agreed to, of the very catalog that it is made for."""
    if taken.agreed is None or (taken.receipt or {}).get("state") not in (None, "forking"):
        return make
    _, alike = catalog_plan(desk, taken, expected=True)

    def agreed(tree: Tree) -> Plan:
        plan = make(tree)
        if plan.files and alike(tree).digest != taken.agreed:
            raise _NotAgreed
        return plan

    return agreed


def _live(desk: Desk, taken: Publication, home: str) -> Became:
    """Whether readers find the records."""
    receipt = taken.receipt or {}
    addresses = [home + url.removeprefix(HOME) for urls in receipt["records"].values() for url in urls]
    for address in addresses:
        with desk.egress.request("GET", address, trusted=True, limit=LARGEST) as answer:
            status = answer.status
        if status != 200:
            wait = backoff(taken.tries, desk.observe, SELDOM)
            return Became(State.MERGED, wait, None, {"tries": taken.tries + 1})
    return Became(State.LIVE, None, None, {"receipt": {**receipt, "live": addresses}})


# ---- back


def _taken_back(desk: Desk, taken: Publication) -> Became:
    """Raises TargetRefused for what is there for good."""
    offer, receipt = desk.publishers.offer(taken.target), taken.receipt
    if life.taken(receipt):
        raise TargetRefused("The repository has it.", hint="Its administrators delete items: ask them.")
    if not offer.repository and offer.kind != "bundle" and receipt is not None:
        target = desk.publishers.catalog(taken.target, taken.owner, taken.project)
        receipt = target.withdraw(receipt)
    return Became(State.WITHDRAWN, None, None, {"receipt": receipt, "withdraw": False})
