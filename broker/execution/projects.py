"""Projects: made, renamed, deleted, and who belongs to them; every change is in the audit."""

from __future__ import annotations

import re

from broker.access.principal import Part, Principal, Scope
from broker.errors import Forbidden, InputError, InputProblem, ProjectConflict, QuotaExceeded
from broker.store import audit, invitations, projects
from broker.store.database import Database, new_id
from broker.store.invitations import Invitation
from broker.store.projects import Project

MOST_PROJECTS = 100  # that one person has made
MOST_INVITATIONS = 100  # that are open, of a project
MOST_DAYS, DAYS = 90, 14  # that an invitation lives at most, and when nothing else is said
LONGEST_TITLE, LONGEST_NOTE = 200, 500  # characters
_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*\Z")
_PERSON = re.compile(r"p[a-z2-7]{19}\Z")  # `people.id_of`: also of somebody who has not been here yet


def create(database: Database, principal: Principal, project_id: str, title: str) -> Project:
    """A new project whose maintainer the caller is. Raises InputError, ProjectConflict, QuotaExceeded."""
    refuse_others(principal)
    if not 3 <= len(project_id) <= 40 or not _ID.match(project_id) or _PERSON.match(project_id):
        what = "is 3 to 40 lower-case letters, digits and single hyphens, a letter first"
        raise InputError(InputProblem("/id", f"the id of a project {what}"))
    title = _line("/title", title or project_id, LONGEST_TITLE)
    with database.write() as tx:
        if projects.created_by(tx, principal.owner) >= MOST_PROJECTS and not principal.reach.everything:
            raise QuotaExceeded(f"You have made {MOST_PROJECTS} projects.", hint="Delete those that are over.")
        made = projects.create(tx, project_id, title, principal.owner)
        audit.record(tx, audit.entry(principal, "create-project", f"project/{made.id}", title=title))
        return made


def rename(database: Database, principal: Principal, project_id: str, title: str) -> Project:
    """Raises NoSuchProject, Forbidden, InputError."""
    refuse_others(principal, project_id)
    title = _line("/title", title, LONGEST_TITLE)
    with database.write() as tx:
        projects.get_to_change(tx, project_id, principal.reach)
        projects.rename(tx, project_id, title)
        audit.record(tx, audit.entry(principal, "rename-project", f"project/{project_id}", title=title))
        return projects.get(tx, project_id, principal.reach)


def remove(database: Database, principal: Principal, project_id: str) -> None:
    """Delete a project. Raises NoSuchProject, Forbidden, and ProjectConflict while something belongs to it."""
    refuse_others(principal, project_id)
    with database.write() as tx:
        projects.get_to_change(tx, project_id, principal.reach)
        projects.remove(tx, project_id)
        audit.record(tx, audit.entry(principal, "delete-project", f"project/{project_id}"))


def change_part(database: Database, principal: Principal, project_id: str, person: str, part: Part) -> None:
    """Change what a member is; an operator also adds people. Raises NoSuchProject, Forbidden, ProjectConflict."""
    refuse_others(principal, project_id)
    with database.write() as tx:
        projects.get_to_change(tx, project_id, principal.reach)
        new = projects.part_of(tx, project_id, person) is None
        # people are asked (by an invitation), not told; only operators tell
        if new and not (principal.reach.everything and projects.somebody(tx, person)):
            raise projects.no_member(project_id, person)
        projects.put(tx, project_id, person, part)
        entry = audit.entry(principal, "change-part", f"project/{project_id}", person=person, part=part.value)
        audit.record(tx, entry)


def take_out(database: Database, principal: Principal, project_id: str, person: str) -> None:
    """End a membership: one's own, or as maintainer another's. Raises NoSuchProject, Forbidden, ProjectConflict."""
    refuse_others(principal, project_id)
    mine = person == principal.owner
    with database.write() as tx:
        if mine:
            projects.lock(tx, project_id)
            projects.get(tx, project_id, principal.reach)
        else:
            projects.get_to_change(tx, project_id, principal.reach)
        projects.take_out(tx, project_id, person)
        action = "leave-project" if mine else "remove-member"
        audit.record(tx, audit.entry(principal, action, f"project/{project_id}", person=person))


def invite(
    database: Database, principal: Principal, project_id: str, part: Part, note: str = "", days: float = DAYS
) -> tuple[Invitation, str]:
    """(the invitation, its code: shown now and never again). Raises NoSuchProject, Forbidden, InputError."""
    refuse_others(principal, project_id)
    if not 0 < days <= MOST_DAYS:
        raise InputError(InputProblem("/days", f"an invitation is for 1 to {MOST_DAYS} days"))
    note = _line("/note", note, LONGEST_NOTE) if note else ""
    code = invitations.new_code()
    with database.write() as tx:
        projects.get_to_change(tx, project_id, principal.reach)
        if invitations.count(tx, project_id) >= MOST_INVITATIONS:
            raise QuotaExceeded(f"{MOST_INVITATIONS} invitations are open.", hint="Revoke those that nobody needs.")
        made = invitations.add(tx, new_id(), code, project_id, part, note, principal.owner, days * 86400)
        entry = audit.entry(principal, "invite", f"project/{project_id}", invitation=made.id, part=part.value)
        audit.record(tx, entry)
        return made, code


def revoke(database: Database, principal: Principal, project_id: str, invitation_id: str) -> None:
    """Raises NoSuchProject, Forbidden, NoSuchInvitation."""
    refuse_others(principal, project_id)
    with database.write() as tx:
        projects.get_to_change(tx, project_id, principal.reach)
        invitations.revoke(tx, project_id, invitation_id)
        entry = audit.entry(principal, "revoke-invitation", f"project/{project_id}", invitation=invitation_id)
        audit.record(tx, entry)


def accept(database: Database, principal: Principal, code: str) -> Project:
    """Become what the invitation says; it is used up then. Raises NoSuchInvitation, ProjectConflict."""
    refuse_others(principal)
    with database.write() as tx:
        project_id = invitations.get(tx, code).project
        projects.lock(tx, project_id)
        before = projects.part_of(tx, project_id, principal.owner)
        found = invitations.use(tx, code, principal.owner)
        if before is not None and projects.RANK[before] >= projects.RANK[found.part]:
            # raised inside the transaction: the invitation is not used up
            raise ProjectConflict(f"You are a {before} of the project {project_id!r} already.")
        projects.put(tx, project_id, principal.owner, found.part)
        data = {"invitation": found.id, "part": found.part.value}
        audit.record(tx, audit.entry(principal, "accept-invitation", f"project/{project_id}", **data))
        return projects.get(tx, project_id, principal.reach)


def refuse_others(principal: Principal, project_id: str | None = None) -> None:
    """Who belongs to what is for people to decide: a platform that acts for somebody stays within its bounds, and a
    token that is for one project within that one (None: it is about one's projects in general)."""
    principal.need(Scope.RUN)
    if principal.delegate is not None:
        raise Forbidden(f"The platform {principal.delegate} may act for you, but not change projects.")
    if principal.project not in (principal.owner, project_id) and not principal.reach.everything:
        raise Forbidden(f"This request is for the project {principal.project} only.")


def _line(pointer: str, text: str, most: int) -> str:
    text = text.strip()
    if not 0 < len(text) <= most or not text.isprintable():
        raise InputError(InputProblem(pointer, f"is not one line of 1 to {most} characters"))
    return text
