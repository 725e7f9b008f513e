"""Share: a process, a job with all that is its own, or an upload is shown to a project, to everybody, or to nobody."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from broker.access.principal import Part, Principal, Scope
from broker.errors import Forbidden, InputError, InputProblem
from broker.store import audit, projects, sharing
from broker.store.database import Database
from broker.store.sharing import Kind, Sharing
from broker.store.visible import PROJECT, PUBLIC, SHARED

SCOPES: Mapping[Kind, Scope] = {"process": Scope.DEPLOY, "job": Scope.RUN, "upload": Scope.RUN}


def share(
    database: Database, principal: Principal, kind: Kind, row_id: str, shared: str, project: str | None = None
) -> Sharing:
    """`shared`: private | project | public; `project`: with which one, where it is project.

    Raises NoSuchProcess, NoSuchJob, NoSuchUpload, NoSuchProject, Forbidden, ImmutableProcess, InputError.
    """
    principal.need(SCOPES[kind])
    check(shared, project)
    with database.write() as tx:
        row = sharing.get_to_change(tx, kind, row_id, principal.reach)
        _refuse(tx, principal, shared, project)
        done = sharing.put(tx, kind, row_id, row.owner, shared, project)
        data = {"shared": shared} | ({"with": project} if project is not None else {})
        audit.record(tx, audit.entry(principal, "share", f"{kind}/{row_id}", **data))
        return done


def check(shared: str, project: str | None) -> None:
    """Raise InputError for words that do not go together."""
    if shared not in SHARED:
        raise InputError(InputProblem("/shared", f"is none of {', '.join(SHARED)}"))
    if (shared == PROJECT) != (project is not None):
        what = "says with which project" if shared == PROJECT else "goes with shared: project only"
        raise InputError(InputProblem("/project", what))


def _refuse(tx: Connection, principal: Principal, shared: str, project: str | None) -> None:
    """Raise NoSuchProject, Forbidden for what the principal may not share so."""
    if principal.delegate is not None and (shared == PUBLIC or project not in (None, principal.project)):
        raise Forbidden(
            f"The platform {principal.delegate} shares what it does for you with the project it acts in, if any."
        )
    if project is None:
        return
    if principal.project not in (principal.owner, project) and not principal.reach.everything:
        raise Forbidden(f"This request is for the project {principal.project}: it shares with no other one.")
    projects.lock(tx, project)
    found = projects.get(tx, project, principal.reach)
    if found.part in (None, Part.VIEWER) and not principal.reach.everything:
        raise Forbidden(f"A viewer of the project {project!r} shares nothing with it.", hint="Ask a maintainer.")


def refuse_stranger(tx: Connection, principal: Principal) -> None:
    """Raise NoSuchProject, Forbidden unless the principal works in the project that it names."""
    if principal.project == principal.owner:
        raise InputError(
            InputProblem("/shared", "there is no project to share with"),
            hint="Name one: Acting-Project: ID, or share the job later.",
        )
    _refuse(tx, principal, PROJECT, principal.project)
