"""Project rows and their members: people who share processes, jobs and uploads under one name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, RowMapping, and_, delete, exists, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from broker.access.principal import Part, Reach
from broker.errors import Forbidden, NoSuchProject, ProjectConflict
from broker.store.account_tables import credentials, invitations, members, people, projects
from broker.store.result_tables import project_publishing
from broker.store.tables import LIVE_ROW, SHARED_ROW, jobs, now, processes, tokens, uploads
from broker.store.visible import PRIVATE

p, m = projects.c, members.c
RANK = {Part.VIEWER: 0, Part.MEMBER: 1, Part.MAINTAINER: 2}


@dataclass(frozen=True, slots=True)
class Project:
    """`owner`: who made it; `part`: what the asking person is in it (None: an operator looks in); epoch seconds."""

    id: str
    title: str
    owner: str
    created: float
    part: Part | None


@dataclass(frozen=True, slots=True)
class Member:
    """`name`: as the person's issuer says it, the id where that is not known; `since`: epoch seconds."""

    person: str
    name: str
    part: Part
    since: float


def create(tx: Connection, project_id: str, title: str, person: str) -> Project:
    """A new project with its first maintainer. Raises ProjectConflict when the id is taken, by whatever."""
    if _taken(tx, project_id):
        raise _is_taken(project_id)
    try:
        tx.execute(insert(projects).values(id=project_id, title=title, owner=person, created=now()))
    except IntegrityError as error:
        raise _is_taken(project_id) from error
    put(tx, project_id, person, Part.MAINTAINER)
    return get(tx, project_id, Reach(person))


def _is_taken(project_id: str) -> ProjectConflict:
    return ProjectConflict(f"The id {project_id!r} is taken.", hint="Choose another one.")


def _taken(tx: Connection, project_id: str) -> bool:
    """Whether the id means something already: a project, a person, or what rows say they belong to.

    A row keeps the project that it was made for; a new project of an old one's name must not come by its rows.
    """
    owned = [
        exists().where(or_(table.c.owner == project_id, table.c.project == project_id))
        for table in (jobs, processes, uploads, tokens, credentials)
    ]
    other = [exists().where(p.id == project_id), exists().where(people.c.id == project_id)]
    return any(tx.execute(select(one)).scalar() for one in (*other, *owned))


def created_by(tx: Connection, person: str) -> int:
    """How many projects somebody has made that still exist."""
    return tx.execute(select(func.count()).where(p.owner == person)).scalar_one()


def get(tx: Connection, project_id: str, reach: Reach) -> Project:
    """Raises NoSuchProject, also for a project that is not one's own."""
    mine = and_(m.project == p.id, m.person == reach.owner)
    query = select(*p, m.part).select_from(projects.outerjoin(members, mine)).where(p.id == project_id)
    row = tx.execute(query).mappings().first()
    if row is None or (row["part"] is None and not reach.everything):
        raise NoSuchProject(f"There is no project {project_id!r}.", hint="List your projects with: broker project list")
    return _project(row)


def lock(tx: Connection, project_id: str) -> None:
    """Changes of a project and of its members take turns until the transaction ends: its last maintainer is counted
    by one at a time. (SQLite has one writer anyway.)"""
    tx.execute(select(p.id).where(p.id == project_id).with_for_update())


def get_to_change(tx: Connection, project_id: str, reach: Reach) -> Project:
    """The same for a maintainer or an operator, locked. Raises Forbidden for who is something else in it."""
    lock(tx, project_id)
    return get_maintained(tx, project_id, reach)


def get_maintained(tx: Connection, project_id: str, reach: Reach) -> Project:
    """The same, only to read what maintainers see."""
    found = get(tx, project_id, reach)
    if found.part is not Part.MAINTAINER and not reach.everything:
        raise Forbidden(
            f"Only maintainers change the project {project_id!r}; you are its {found.part}.", hint="Ask one of them."
        )
    return found


def title_of(tx: Connection, project_id: str) -> str:
    """The title, for who was invited and sees no more yet."""
    return str(tx.execute(select(p.title).where(p.id == project_id)).scalar_one())


def page(tx: Connection, person: str | None, me: str, *, limit: int, after: str | None = None) -> Sequence[Project]:
    """The projects of a person (None: all) by id, after the id `after`, with the parts of `me` in them."""
    mine = and_(m.project == p.id, m.person == me)
    query = select(*p, m.part).select_from(projects.outerjoin(members, mine)).order_by(p.id).limit(limit)
    if person is not None:
        query = query.where(p.id.in_(select(m.project).where(m.person == person)))
    if after is not None:
        query = query.where(p.id > after)
    return [_project(row) for row in tx.execute(query).mappings()]


def rename(tx: Connection, project_id: str, title: str) -> None:
    tx.execute(update(projects).where(p.id == project_id).values(title=title))


def remove(tx: Connection, project_id: str) -> None:
    """Delete a project in which nothing lives any more. Raises ProjectConflict that names what does."""
    if left := belongings(tx, project_id):
        named = ", ".join(f"{count} {what}" for what, count in left.items())
        raise ProjectConflict(
            f"Something still belongs to the project {project_id!r}: {named}.",
            hint="Take them out of the project (broker share ... --with nobody), or delete or dismiss them, first.",
        )
    for table in (processes, uploads):  # old revisions, what has expired
        left_over = update(table).where(table.c.shared_with == project_id)
        tx.execute(left_over.values(shared=PRIVATE, shared_with=None))
    for table in (members, invitations, project_publishing):
        tx.execute(delete(table).where(table.c.project == project_id))
    tx.execute(delete(projects).where(p.id == project_id))


def belongings(tx: Connection, project_id: str) -> dict[str, int]:
    """How many of each kind still live in the project: jobs that run or are shared with it, and so on."""
    j, r, u, k, s = jobs.c, processes.c, uploads.c, tokens.c, credentials.c
    usable = and_(k.revoked.is_(None), or_(k.expires.is_(None), k.expires > now()))
    counts = {
        "unfinished jobs": select(func.count()).where(j.project == project_id, LIVE_ROW),
        "shared jobs": select(func.count()).where(j.shared_with == project_id, SHARED_ROW),
        "shared processes": select(func.count()).where(r.shared_with == project_id, r.current),
        "shared uploads": select(func.count()).where(u.shared_with == project_id, u.expires > now()),
        "tokens": select(func.count()).where(k.project == project_id, usable),
        "credentials": select(func.count()).where(s.project == project_id, s.shared != PRIVATE),
    }
    found = {what: tx.execute(query).scalar_one() for what, query in counts.items()}
    return {what: count for what, count in found.items() if count}


# ---- members


def part_of(tx: Connection, project_id: str, person: str) -> Part | None:
    """What a person is in a project; None: nothing."""
    found = tx.execute(select(m.part).where(m.project == project_id, m.person == person)).scalar()
    return None if found is None else Part(found)


def somebody(tx: Connection, person: str) -> bool:
    """Whether an id is of a person who was here, or owns a token."""
    found = select(or_(exists().where(people.c.id == person), exists().where(tokens.c.owner == person)))
    return bool(tx.execute(found).scalar())


def members_of(tx: Connection, project_id: str) -> list[Member]:
    """Maintainers first, then by name."""
    name = func.coalesce(people.c.name, m.person).label("name")
    joined = members.outerjoin(people, people.c.id == m.person)
    rows = tx.execute(select(m.person, name, m.part, m.since).select_from(joined).where(m.project == project_id))
    found = [Member(row.person, row.name, Part(row.part), row.since) for row in rows]
    return sorted(found, key=lambda one: (-RANK[one.part], one.name.casefold(), one.person))


def put(tx: Connection, project_id: str, person: str, part: Part) -> None:
    """Make somebody a member, or change a member's part. Raises ProjectConflict for the last maintainer's.

    Who is a maintainer no longer has no open invitations either: they would be a way back.
    """
    before = part_of(tx, project_id, person)
    if before is None:
        tx.execute(insert(members).values(project=project_id, person=person, part=part.value, since=now()))
    elif before is not part:
        _keep_one(tx, project_id, person, before)
        tx.execute(update(members).where(m.project == project_id, m.person == person).values(part=part.value))
        if before is Part.MAINTAINER:
            _withdraw(tx, project_id, person)


def take_out(tx: Connection, project_id: str, person: str) -> None:
    """End a membership. Raises NoSuchProject when there is none, ProjectConflict for the last maintainer's."""
    before = part_of(tx, project_id, person)
    if before is None:
        raise no_member(project_id, person)
    _keep_one(tx, project_id, person, before)
    tx.execute(delete(members).where(m.project == project_id, m.person == person))
    _withdraw(tx, project_id, person)


def no_member(project_id: str, person: str) -> NoSuchProject:
    return NoSuchProject(
        f"{person!r} is no member of the project {project_id!r}.",
        hint=f"Invite people with: broker project invite {project_id}",
    )


def _keep_one(tx: Connection, project_id: str, person: str, before: Part) -> None:
    others = select(func.count()).where(m.project == project_id, m.person != person, m.part == Part.MAINTAINER.value)
    if before is Part.MAINTAINER and not tx.execute(others).scalar_one():
        raise ProjectConflict(
            f"The project {project_id!r} would be left without a maintainer.",
            hint="Make another member a maintainer first, or delete the project.",
        )


def _withdraw(tx: Connection, project_id: str, person: str) -> None:
    i = invitations.c
    tx.execute(delete(invitations).where(i.project == project_id, i.invited_by == person, i.used.is_(None)))


def _project(row: RowMapping) -> Project:
    return Project(**{**row, "part": None if row["part"] is None else Part(row["part"])})
