"""What a project publishes with where nobody says otherwise, and its technical officers: who sets them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection

from broker.access.principal import Principal
from broker.errors import Forbidden, InputError, InputProblem
from broker.execution.projects import refuse_others
from broker.results.catalogrequest import people, shapes
from broker.store import audit, projects, publishing
from broker.store.database import Database
from broker.store.publishing import ProjectPublishing

LISTS = ("themes", "variables", "missions", "keywords")
TEXTS = ("project", "licence", "region", "doi")
OF_COLLECTIONS = ("project_description", "project_website", "initiative", "contract_number")  # texts, of the PRR only
MEMBERS = (*TEXTS, *LISTS, "contacts", *OF_COLLECTIONS)


def shown(tx: Connection, principal: Principal, project_id: str) -> ProjectPublishing:
    """For who belongs to the project. Raises NoSuchProject."""
    projects.get(tx, project_id, principal.reach)
    return publishing.get(tx, project_id)


def change(
    database: Database,
    principal: Principal,
    project_id: str,
    request: Mapping[str, Any],
    officers: tuple[str, ...] | None = None,
) -> ProjectPublishing:
    """Set what the project publishes with, and its technical officers (None: as they are). Only operators name these:
    whom they watch over does not choose them.

    Raises NoSuchProject, Forbidden, InputError with every problem.
    """
    refuse_others(principal, project_id)
    if problems := list(_problems(request)):
        raise InputError(*problems)
    with database.write() as tx:
        projects.get_to_change(tx, project_id, principal.reach)
        before = publishing.get(tx, project_id)
        named = before.officers if officers is None else tuple(dict.fromkeys(officers))
        if set(named) != set(before.officers):
            if not principal.reach.everything:
                raise Forbidden("Only operators name the technical officers of a project.", hint="Ask one of them.")
            members = {one.person for one in projects.members_of(tx, project_id)}
            if strange := set(named) - members:
                raise InputError(InputProblem("/officers", f"no members of the project: {', '.join(sorted(strange))}"))
        given = ProjectPublishing(dict(request), named)
        publishing.put(tx, project_id, given)
        data = {"members": sorted(request), "officers": list(named)}
        audit.record(tx, audit.entry(principal, "set-publishing", f"project/{project_id}", **data))
        return given


def _problems(request: Mapping[str, Any]) -> Iterator[InputProblem]:
    """What a catalog knows is asked when something is published; here it is whether the members can be such."""
    for name in request:
        if name not in MEMBERS:
            yield InputProblem(f"/request/{name}", f"is not set for a project; known are {', '.join(MEMBERS)}")
    catalog = {name: value for name, value in request.items() if name in MEMBERS and name not in OF_COLLECTIONS}
    found = list(shapes(catalog))
    if not found:
        found = list(people(catalog.get("contacts") or ()))
    yield from (InputProblem(f"/request{one.pointer}", one.detail) for one in found)
    for name in OF_COLLECTIONS:
        if name in request and not (isinstance(request[name], str) and request[name].strip()):
            yield InputProblem(f"/request/{name}", "must be a text that is not empty")
