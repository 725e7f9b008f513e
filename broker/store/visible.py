"""Who sees a row and who may change it: the one place where tenancy becomes SQL.

A row has an owner and `shared`: private (its owner only), project (the members of the project that it is shared
with), public. For which project it was made, and at whose expense, is another matter and opens nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, ColumnElement, Table, Text, and_, bindparam, or_, select

from broker.access.principal import Part, Reach
from broker.store.account_tables import members

PRIVATE, PROJECT, PUBLIC = "private", "project", "public"
SHARED = (PRIVATE, PROJECT, PUBLIC)
_EVERYTHING = bindparam("reach_everything", type_=Boolean)
_ME = bindparam("reach_me", type_=Text)
_PROJECTS = select(members.c.project).where(members.c.person == _ME)


def visible(table: Table) -> ColumnElement[bool]:
    """Rows that a reach sees. Built into statements once; the parameters come from `by`."""
    c = table.c
    ours = and_(c.shared == PROJECT, _project(table).in_(_PROJECTS))
    return or_(_EVERYTHING, c.owner == _ME, c.shared == PUBLIC, ours)


def changeable(table: Table) -> ColumnElement[bool]:
    """Rows that a reach may change: one's own, and what is shared with a project that one maintains."""
    c = table.c
    maintained = _PROJECTS.where(members.c.part == Part.MAINTAINER.value)
    ours = and_(c.shared != PRIVATE, _project(table).in_(maintained))
    return or_(_EVERYTHING, c.owner == _ME, ours)


def _project(table: Table) -> ColumnElement[str | None]:
    """Which project a row is shared with: credentials have no other."""
    return table.c.shared_with if "shared_with" in table.c else table.c.project


def by(reach: Reach | None) -> dict[str, Any]:
    """The parameters of both; None: the broker itself, which sees everything."""
    if reach is None:
        return {"reach_everything": True, "reach_me": ""}
    return {"reach_everything": reach.everything, "reach_me": reach.owner}
