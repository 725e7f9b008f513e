"""Publish: what people do with publications. What becomes of them then is `publishstep`'s.

asked = Asked.of(body, job_id)
check(desk, principal, asked).to_json()    # nothing is kept: findings, drafted request, files, items, diff
request(desk, principal, asked)            # rows, one for each target
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from broker.access.principal import Principal, Scope
from broker.errors import Forbidden, Held, InputError, InputProblem, WrongPhase
from broker.execution.publishdesk import Desk
from broker.execution.publishdraft import ASKED, Draft, Drafted, begun, complete, draft, offered, strange_previous
from broker.execution.publishrequest import Asked
from broker.execution.publishstep import agreed_digest
from broker.execution.publishsubject import of_publication
from broker.jobs import publication as life
from broker.jobs.publication import State
from broker.store import audit, publicationclaims, publications
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
        _keep_results(tx, drafted.subject.job_ids)
        made: list[Publication] = []
        repository = drafted.earlier
        for one in drafted.targets:
            after = None if one.offer.repository else repository
            made.append(_made(tx, principal, drafted, one, after))
            repository = made[-1].id if one.offer.repository else repository
        return made


def _keep_results(tx: Connection, job_ids: Iterable[str]) -> None:
    for job_id in job_ids:
        if not publications.lock_results(tx, job_id):
            raise Held(f"The results of {job_id} were deleted: they cannot be published.")


def _made(
    tx: Connection,
    principal: Principal,
    drafted: Draft,
    one: Drafted,
    after: str | None,
    promotes: str | None = None,
) -> Publication:
    subject = drafted.subject
    if found := begun(tx, one.offer.name, subject.job_ids):  # by somebody who was quicker
        raise InputError(*(InputProblem(f"/{each.field}", each.message) for each in found))
    new = New(
        id=new_id(),
        owner=principal.owner,
        project=subject.project,
        target=one.offer.name,
        kind=one.offer.kind,
        title=one.title,
        state=State.AWAITING if one.offer.approval else State.PENDING,
        request=one.request,
        jobs=subject.job_ids,
        process_id=None if subject.process is None else subject.process["id"],
        process_revision=None if subject.process is None else subject.process["revision"],
        after=after,
        previous=one.request.get("previous"),
        promotes=promotes,
        delegate=principal.delegate,
    )
    made = publications.add(tx, new)
    what = {"target": made.target, "jobs": list(made.jobs), **({"promotes": promotes} if promotes else {})}
    audit.record(tx, audit.entry(principal, "publish", f"publication/{made.id}", **what))
    return made


# ---- who agrees


def approve(desk: Desk, principal: Principal, publication_id: str, shown: str | None = None) -> Publication:
    """Agree to one that waits for it, and to nothing but what it brings now. `shown`: the digest that came with
    the diff (`publishbundle.shown`). Raises NoSuchPublication, Forbidden, WrongPhase also where it brings something
    else, and what hinders its diff from being made."""
    with desk.database.read() as tx:
        seen = _to_decide(desk, tx, principal, publication_id)
        lost = publications.next_state(tx, seen.after)[0] is State.FAILED
    request = _settled(desk, seen)
    agreed = None if lost else agreed_digest(desk, replace(seen, request=request))
    if shown not in (None, agreed):
        raise WrongPhase(f"What the publication {seen.id} brings is not what you were shown: look at it once more.")
    with desk.database.write() as tx:
        publications.lock(tx, publication_id)
        found = _to_decide(desk, tx, principal, publication_id)
        if found.fence != seen.fence:
            raise WrongPhase(f"The publication {found.id} was changed meanwhile: look at it once more.")
        state, message = publications.next_state(tx, found.after)
        due, who, what = _due(state), principal.owner, {"request": request, "agreed": agreed}
        done = publicationclaims.save(tx, found, state, message=message, due_in=due, actor=who, **what)
        audit.record(tx, audit.entry(principal, "approve-publication", f"publication/{found.id}", target=found.target))
        return done


def _settled(desk: Desk, found: Publication) -> dict[str, Any]:
    """The whole request, so that what somebody agrees to does not change with the settings of a project afterwards."""
    if ASKED not in found.request:
        return dict(found.request)
    with desk.database.read() as tx:
        subject = of_publication(tx, found)
    return complete(desk, subject, found.request)


def reject(desk: Desk, principal: Principal, publication_id: str, reason: str) -> Publication:
    """Refuse one that waits for agreement; `reason` is what its owner reads. Raises as `approve`, InputError."""
    if not reason.strip() or len(reason) > LONGEST_REASON:
        raise InputError(InputProblem("/reason", f"must be a text of 1 to {LONGEST_REASON} characters"))
    with desk.database.write() as tx:
        publications.lock(tx, publication_id)
        found = _to_decide(desk, tx, principal, publication_id)
        message = f"It was refused: {reason.strip()}"
        done = publicationclaims.save(tx, found, State.REJECTED, message=message, actor=principal.owner)
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
        publications.lock(tx, publication_id)
        found = publications.get_to_change(tx, publication_id, principal.reach)
        if found.state not in life.WORKED | {State.FAILED}:
            raise WrongPhase(f"The publication {found.id} is {found.state}: there is nothing to try again.")
        state, message = found.state, None
        if found.state is State.FAILED:
            _keep_results(tx, found.jobs)
            state, message = publications.next_state(tx, found.after)
        who = principal.owner
        done = publicationclaims.save(tx, found, state, message=message, due_in=_due(state), actor=who, tries=0)
        audit.record(tx, audit.entry(principal, "retry-publication", f"publication/{found.id}"))
        return done


def withdraw(desk: Desk, principal: Principal, publication_id: str) -> Publication:
    """Take back what is not published for good: at once before anything has left, else as soon as the target answers
    (`withdraw` is true until then). Raises NoSuchPublication, Forbidden, WrongPhase."""
    principal.need(Scope.PUBLISH)
    with desk.database.write() as tx:
        publications.lock(tx, publication_id)
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
            return publicationclaims.save(tx, found, State.WITHDRAWN, actor=principal.owner)
        message = "It is taken back as soon as the target answers."
        return publicationclaims.save(
            tx, found, found.state, message=message, due_in=0.0, actor=principal.owner, withdraw=True
        )


def promote(desk: Desk, principal: Principal, publication_id: str) -> Publication:
    """Publish in the live catalog what is proposed or merged in its test catalog: a new publication, checked as any.

    Raises NoSuchPublication, Forbidden, WrongPhase, InputError.
    """
    principal.need(Scope.PUBLISH)
    with desk.database.read() as tx:
        found = publications.get_to_change(tx, publication_id, principal.reach)
    name = desk.publishers.offer(found.target).promotes_to
    if name is None:
        raise WrongPhase(f"{found.target} is no test catalog: there is nothing to promote to.")
    if found.state not in (State.PROPOSED, State.MERGED, State.LIVE):
        raise WrongPhase(f"The publication {found.id} is {found.state}: it is promoted once it is proposed.")
    drafted = draft(desk, principal, Asked((name,), found.request, found.jobs), like=found)
    drafted.refuse()
    with desk.database.write() as tx:
        return _made(tx, principal, drafted, drafted.targets[0], found.after, promotes=found.id)


def _due(state: State) -> float | None:
    return 0.0 if state in life.WORKED else None


# ---- with a job that is still to run


def promised(desk: Desk, principal: Principal, asked: Asked) -> dict[str, Any]:
    """What a job keeps of the wish to publish it once it is successful: see `publications.of_ended`. Only names are
    checked: what is published is not there yet.

    Raises Forbidden, InputError for targets and members that mean nothing.
    """
    principal.need(Scope.PUBLISH)
    if asked.jobs or asked.process is not None:
        raise InputError(InputProblem("/jobs", "the job that this request makes is what is published"))
    with desk.database.read() as tx:
        if wrong := strange_previous(tx, principal, asked.members):
            raise InputError(InputProblem("/previous", wrong[0].message))
    found = sorted(offered(desk, asked), key=lambda one: not one.repository)
    targets = [
        {"target": one.name, "kind": one.kind, "approval": one.approval, "repository": one.repository} for one in found
    ]
    return {"targets": targets, "request": {ASKED: dict(asked.members)}}
