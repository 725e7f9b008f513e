"""Publish: what people do with publications. What becomes of them then is `publishstep`'s.

asked = Asked.of(body, job_id)
check(desk, principal, asked).to_json()    # nothing is kept: findings, drafted request, files, items, diff
request(desk, principal, asked)            # rows, one for each target
"""

from __future__ import annotations

from sqlalchemy import Connection

from broker.access.principal import Principal, Scope
from broker.errors import Forbidden, Held, InputError, InputProblem, WrongPhase
from broker.execution.publishdesk import Desk
from broker.execution.publishdraft import Draft, Drafted, draft
from broker.execution.publishrequest import Asked
from broker.jobs import publication as life
from broker.jobs.publication import State
from broker.store import audit, publications
from broker.store.database import new_id
from broker.store.publications import New, Publication

LONGEST_REASON = 2000


def check(desk: Desk, principal: Principal, asked: Asked) -> Draft:
    """What would be published, with everything that is missing or doubtful; nothing is kept, nothing leaves.

    Raises NoSuchJob, NoSuchProcess, Forbidden, InputError for what cannot be published at all, TargetUnavailable where
    a catalog cannot be read.
    """
    principal.need(Scope.PUBLISH)
    return draft(desk, principal, asked)


def request(desk: Desk, principal: Principal, asked: Asked) -> list[Publication]:
    """One publication for each target, a catalog's after a repository's. Raises as `check`, and InputError with every
    error that it finds, Held for results that were deleted meanwhile."""
    drafted = check(desk, principal, asked)
    drafted.refuse()
    with desk.database.write() as tx:
        for job_id in drafted.subject.job_ids:
            if not publications.lock_results(tx, job_id):
                raise Held(f"The results of {job_id} were deleted: they cannot be published.")
        made: list[Publication] = []
        for one in drafted.targets:
            made.append(_made(tx, principal, drafted, one, made))
        return made


def _made(
    tx: Connection, principal: Principal, drafted: Draft, one: Drafted, earlier: list[Publication]
) -> Publication:
    subject = drafted.subject
    after = None
    if not one.offer.repository:
        sent = (made.id for made, there in zip(earlier, drafted.targets, strict=False) if there.offer.repository)
        after = next(sent, drafted.earlier)
    new = New(
        id=new_id(),
        owner=principal.owner,
        project=subject.project,
        target=one.offer.name,
        kind=one.offer.kind,
        title=one.title,
        state=_first(one.offer.approval, after),
        request=one.request,
        jobs=subject.job_ids,
        process_id=None if subject.process is None else subject.process["id"],
        process_revision=None if subject.process is None else subject.process["revision"],
        after=after,
        previous=one.request.get("previous"),
        delegate=principal.delegate,
    )
    made = publications.add(tx, new, f"It waits for {after}." if new.state is State.WAITING else None)
    audit.record(tx, audit.entry(principal, "publish", f"publication/{made.id}", target=made.target, jobs=made.jobs))
    return made


def _first(approval: bool, after: str | None) -> State:
    return State.AWAITING if approval else State.WAITING if after else State.PENDING


# ---- who agrees


def approve(desk: Desk, principal: Principal, publication_id: str) -> Publication:
    """Agree to one that waits for it. Raises NoSuchPublication, Forbidden, WrongPhase."""
    with desk.database.write() as tx:
        found = _to_decide(desk, tx, principal, publication_id)
        state, message = _next(tx, found)
        done = publications.save(tx, found, state, message=message, due_in=_due(state), actor=principal.owner)
        audit.record(tx, audit.entry(principal, "approve-publication", f"publication/{found.id}", target=found.target))
        return done


def reject(desk: Desk, principal: Principal, publication_id: str, reason: str) -> Publication:
    """Refuse one that waits for agreement; `reason` is what its owner reads. Raises as `approve`, InputError."""
    if not reason.strip() or len(reason) > LONGEST_REASON:
        raise InputError(InputProblem("/reason", f"must be a text of 1 to {LONGEST_REASON} characters"))
    with desk.database.write() as tx:
        found = _to_decide(desk, tx, principal, publication_id)
        message = f"It was refused: {reason.strip()}"
        done = publications.save(tx, found, State.REJECTED, message=message, actor=principal.owner)
        audit.record(tx, audit.entry(principal, "reject-publication", f"publication/{found.id}", target=found.target))
        return done


def _to_decide(desk: Desk, tx: Connection, principal: Principal, publication_id: str) -> Publication:
    found = publications.get(tx, publication_id, principal.reach)
    if not desk.publishers.may_approve(tx, principal, found.owner, found.project):
        raise Forbidden("Somebody else has to agree to this: a technical officer of the project, or a maintainer.")
    if found.state is not State.AWAITING:
        raise WrongPhase(f"The publication {found.id} is {found.state}: nobody has to agree to it now.")
    return found


# ---- on and back


def retry(desk: Desk, principal: Principal, publication_id: str) -> Publication:
    """Try a failed one again, or do at once what is only due later. Raises NoSuchPublication, Forbidden, WrongPhase,
    Held."""
    principal.need(Scope.PUBLISH)
    with desk.database.write() as tx:
        found = publications.get_to_change(tx, publication_id, principal.reach)
        if found.state not in life.WORKED | {State.FAILED}:
            raise WrongPhase(f"The publication {found.id} is {found.state}: there is nothing to try again.")
        state, message = found.state, None
        if found.state is State.FAILED:
            for job_id in found.jobs:
                if not publications.lock_results(tx, job_id):
                    raise Held(f"The results of {job_id} were deleted: they cannot be published.")
            state, message = _next(tx, found)
        done = publications.save(tx, found, state, message=message, due_in=_due(state), actor=principal.owner, tries=0)
        audit.record(tx, audit.entry(principal, "retry-publication", f"publication/{found.id}"))
        return done


def withdraw(desk: Desk, principal: Principal, publication_id: str) -> Publication:
    """Take back what is not published for good: at once before anything has left, else as soon as the target answers
    (`withdraw` is true until then). Raises NoSuchPublication, Forbidden, WrongPhase."""
    principal.need(Scope.PUBLISH)
    with desk.database.write() as tx:
        found = publications.get_to_change(tx, publication_id, principal.reach)
        if found.state is State.WITHDRAWN:
            return found
        if State.WITHDRAWN not in life.LEGAL[found.state] or life.taken(found.receipt):
            raise WrongPhase(
                f"The publication {found.id} is {found.state}: it cannot be taken back from here.",
                hint="Publish a correction that names it as previous; a repository deletes items when it is asked to.",
            )
        audit.record(tx, audit.entry(principal, "withdraw-publication", f"publication/{found.id}"))
        if found.receipt is None and found.state is not State.SENDING:
            return publications.save(tx, found, State.WITHDRAWN, actor=principal.owner)
        message = "It is taken back as soon as the target answers."
        return publications.save(
            tx, found, found.state, message=message, due_in=0.0, actor=principal.owner, withdraw=True
        )


def promote(desk: Desk, principal: Principal, publication_id: str) -> Publication:
    """Publish in the live catalog what is proposed or merged in its test catalog: a new publication, checked as any.

    Raises NoSuchPublication, Forbidden, WrongPhase, InputError.
    """
    principal.need(Scope.PUBLISH)
    with desk.database.read() as tx:
        found = publications.get_to_change(tx, publication_id, principal.reach)
    target = desk.publishers.offer(found.target).promotes_to
    if target is None:
        raise WrongPhase(f"{found.target} is no test catalog: there is nothing to promote to.")
    if found.state not in (State.PROPOSED, State.MERGED, State.LIVE):
        raise WrongPhase(f"The publication {found.id} is {found.state}: it is promoted once it is proposed.")
    asked = Asked((target,), found.request, found.jobs)
    drafted = draft(desk, principal, asked, like=found)
    drafted.refuse()
    with desk.database.write() as tx:
        made = _promoted(tx, principal, drafted, found)
        what = {"target": target, "from": found.id}
        audit.record(tx, audit.entry(principal, "promote-publication", f"publication/{made.id}", **what))
        return made


def _promoted(tx: Connection, principal: Principal, drafted: Draft, found: Publication) -> Publication:
    offer = drafted.targets[0].offer
    new = New(
        id=new_id(),
        owner=principal.owner,
        project=found.project,
        target=offer.name,
        kind=offer.kind,
        title=found.title,
        state=_first(offer.approval, None),
        request=drafted.targets[0].request,
        jobs=found.jobs,
        process_id=found.process_id,
        process_revision=found.process_revision,
        after=found.after,
        previous=found.previous,
        promotes=found.id,
        delegate=principal.delegate,
    )
    return publications.add(tx, new)


def _next(tx: Connection, found: Publication) -> tuple[State, str | None]:
    """Where it goes from here: on, or to wait for what it builds on."""
    if found.after is None:
        return State.PENDING, None
    other = publications.get(tx, found.after)
    if other.state in life.DONE:
        return State.PENDING, None
    return State.WAITING, f"It waits for {other.id}, which is {other.state}."


def _due(state: State) -> float | None:
    return 0.0 if state in life.WORKED else None


# ---- looking at it


def diff(desk: Desk, principal: Principal, publication_id: str) -> str:
    """What a catalog's publication still changes there, as a unified diff. Raises NoSuchPublication, InputError for
    one in a repository, TargetUnavailable."""
    raise NotImplementedError


def bundle(desk: Desk, principal: Principal, publication_id: str) -> tuple[str, bytes]:
    """Name and bytes of a zip for who does it by hand: of a catalog's publication all its files and the diff, of a
    repository's the collection, its items and the letter. Raises as `diff`."""
    raise NotImplementedError


def bundle_of(desk: Desk, principal: Principal, asked: Asked) -> tuple[str, bytes]:
    """The same for what is not asked for yet; of several targets the first. Raises as `check`."""
    raise NotImplementedError
