"""For whom a request is: a person that a platform acts for (Acting-For), a project (Acting-Project)."""

from __future__ import annotations

import time

from sqlalchemy import Connection

from broker.access import delegation
from broker.access.configuration import Access, Delegate
from broker.access.principal import WORKS, Principal
from broker.api.bearers import REMEMBERED, Known, remember
from broker.api.rows import Rows
from broker.errors import Forbidden
from broker.store import audit, people, projects
from broker.store.audit import Entry

LONGEST = 300  # characters of a header


class Acting:
    """Decides what the two headers may say. Answers are remembered as long as those of the database."""

    def __init__(self, access: Access, rows: Rows) -> None:
        self._access = access
        self._rows = rows
        self._names = {one.url: name for name, one in access.issuers.items()}
        self._known: dict[str, tuple[float, Principal | Forbidden]] = {}

    def forget(self) -> None:
        self._known.clear()

    async def principal(self, known: Known, person: str | None, project: str | None) -> Principal:
        """Raises Forbidden, which says what is not allowed; the audit knows of it."""
        key = "\0".join((known.owner, known.reference or "", person or "", project or ""))
        until, found = self._known.get(key, (0.0, None))
        if found is None or time.monotonic() >= until:
            found = await self._rows.quick(self._decide, known, person, project)
            remember(self._known, key, (time.monotonic() + REMEMBERED, found))
        if isinstance(found, Forbidden):
            raise Forbidden(found.detail, hint=found.hint)
        return found

    def _decide(self, known: Known, person: str | None, project: str | None) -> Principal | Forbidden:
        try:
            for name, value in (("Acting-For", person), ("Acting-Project", project)):
                if value is not None and not (0 < len(value) <= LONGEST and value.isprintable()):
                    raise Forbidden(f"The header {name} names nothing.")
            if person is None:
                return self._for_project(known, project or "")
            return self._for_person(known, person, project)
        except Forbidden as refused:
            self._record(known, person, project, refused)
            return refused

    def _for_project(self, known: Known, project: str) -> Principal:
        """Oneself, in a project."""
        if known.identity is not None and known.identity.role is None:
            raise Forbidden("Somebody without a role on this broker works in no project.")
        if known.project not in (known.owner, project):
            raise Forbidden(f"This token is for the project {known.project} only.")
        with self._rows.database.read() as tx:
            _refuse_stranger(tx, known.owner, project)
        return Principal(known.owner, project, known.scopes, known.reference)

    def _for_person(self, known: Known, person: str, project: str | None) -> Principal:
        """A person that a platform acts for, in the person's own project or in one of which both may be part."""
        name, delegate = delegation.platform(self._access.delegates, known.owner, known.identity)
        url, subject = self._named(name, delegate, person)
        owner = people.id_of(url, subject)
        if project is not None and project != owner:
            delegation.refuse_project(name, delegate, project)
        with self._rows.database.read() as tx:
            met = people.get(tx, owner) is not None
            if project is not None:
                _refuse_stranger(tx, owner, project)
        if not met:
            with self._rows.database.write() as tx:
                people.meet(tx, url, subject)
        scopes = frozenset(delegate.scopes)
        if known.token is not None:  # one of our own: it has scopes itself
            scopes &= known.scopes
        return Principal(owner, project or owner, scopes, known.reference, delegate=name)

    def _named(self, name: str, delegate: Delegate, person: str) -> tuple[str, str]:
        """(URL of the issuer, subject) of `issuer:subject`, or of the id of a person. Raises Forbidden."""
        issuer, colon, subject = person.partition(":")
        if colon:
            delegation.refuse_person(name, delegate, issuer, subject)
            if issuer not in self._access.issuers or not subject:
                raise Forbidden(
                    f"Acting-For names nobody: there is no {person!r} here.", hint="Write it as issuer:subject."
                )
            return self._access.issuers[issuer].url, subject
        with self._rows.database.read() as tx:
            found = people.get(tx, person)
        # somebody whom nobody knows is refused as somebody who is not allowed: ids are not to be tried out
        issuer = self._names.get(found.issuer, "") if found is not None else ""
        delegation.refuse_person(name, delegate, issuer, found.subject if found is not None else "")
        if found is None or not issuer:
            raise Forbidden(f"The platform {name} may not act for this person (access.delegates.{name}.people).")
        return found.issuer, found.subject

    def _record(self, known: Known, person: str | None, project: str | None, refused: Forbidden) -> None:
        subject = f"person/{person}" if person is not None else f"project/{project}"
        entry = Entry(
            known.owner,
            known.project,
            "act",
            subject[:LONGEST],
            outcome="refused",
            token=known.reference,
            data={"why": refused.detail, "project": (project or "")[:LONGEST]},
        )
        with self._rows.database.write() as tx:
            audit.record(tx, entry)


def _refuse_stranger(tx: Connection, person: str, project: str) -> None:
    """Raise Forbidden for a project in which the person does not work; one's own has the id of the person."""
    if project != person and projects.part_of(tx, project, person) not in WORKS:
        raise Forbidden(
            f"There is no project {project} here in which {person} works.",
            hint="One must be its member or maintainer; leave Acting-Project out for what is one's own.",
        )
