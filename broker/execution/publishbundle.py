"""What a publication changes, and the zip files for people who publish by hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from broker.access.principal import Principal, Scope
from broker.errors import InputError, InputProblem, NoSuchFile, TargetError
from broker.execution.publishdesk import Desk
from broker.execution.publishdraft import draft
from broker.execution.publishrequest import Asked
from broker.execution.publishstep import agreed_digest, catalog_plan, planned_items
from broker.jobs import publication as life
from broker.jobs.publication import State
from broker.results import catalog, collection
from broker.results.catalogplan import Plan
from broker.store import publications
from broker.store.publications import Publication

OFFICER = "the technical officer of the project"


def diff(desk: Desk, principal: Principal, publication_id: str) -> str:
    """What a publication still changes in a catalog, as a unified diff; for a repository a line for each file that it
    gets. Raises NoSuchPublication, InputError, TargetUnavailable."""
    return _diff(desk, _seen(desk, principal, publication_id))


def shown(desk: Desk, principal: Principal, publication_id: str) -> tuple[str, str | None]:
    """What `diff` says, and the digest that one agrees to with it, of what waits for that. Raises as `diff`."""
    found = _seen(desk, principal, publication_id)
    return _diff(desk, found), agreed_digest(desk, found) if found.state is State.AWAITING else None


def _diff(desk: Desk, found: Publication) -> str:
    if not desk.publishers.offer(found.target).repository:
        return _changes(desk, found).diff()
    lines = (
        f"+ {one['item']['id']}/{href} {file.get('size') or '?'} bytes {file.get('sha256') or ''}".rstrip() + "\n"
        for one in planned_items(desk, found)
        for href, file in one["files"].items()
    )
    return "".join(lines)


def bundle(desk: Desk, principal: Principal, publication_id: str) -> tuple[str, bytes]:
    """Name and bytes of a zip for who does it by hand: of a catalog's publication all its files and the diff, of a
    repository's the collection, its items and the letter that asks for it. Raises as `diff`, NotValid."""
    found = _seen(desk, principal, publication_id)
    name = f"{found.target}-{found.id}.zip"
    if desk.publishers.offer(found.target).repository:
        return name, _collection(desk, found.owner, found.project, found.request, planned_items(desk, found))
    return name, _zipped(_changes(desk, found))


def bundle_of(desk: Desk, principal: Principal, asked: Asked) -> tuple[str, bytes]:
    """The same for what is not asked for yet, of the first of its targets: a collection has to be there before items
    can be published in it. Raises as `publish.check`, InputError, NotValid."""
    principal.need(Scope.PUBLISH)
    drafted = draft(desk, principal, asked)
    first = drafted.targets[0]
    name = f"{first.offer.name}.zip"
    if first.offer.repository:
        project = drafted.subject.project
        return name, _collection(desk, principal.owner, project, first.request, first.items)
    if first.changes is None:
        drafted.refuse()
        raise NoSuchFile(f"There is nothing for {first.offer.name}.")
    return name, _zipped(first.changes)


def _seen(desk: Desk, principal: Principal, publication_id: str) -> Publication:
    with desk.database.read() as tx:
        return publications.get(tx, publication_id, principal.reach)


def _changes(desk: Desk, found: Publication) -> Plan:
    _, make = catalog_plan(desk, found, expected=found.state in life.BEFORE)
    return desk.publishers.catalog(found.target, found.owner, found.project, reading=True).plan(make)


def _zipped(plan: Plan) -> bytes:
    if not plan.files:
        raise NoSuchFile(f"The catalog has all of {plan.title} already.")
    return catalog.bundle(plan)


def _collection(
    desk: Desk, owner: str, project: str, request: Mapping[str, Any], planned: Sequence[Mapping[str, Any]]
) -> bytes:
    """The bundle of the collection that the items go to."""
    name = request.get("collection")
    if not isinstance(name, str) or not planned:
        raise InputError(InputProblem("/collection", "is missing, or there are no items that go into it"))
    items = [one["item"] for one in planned]
    members = {key: value for key, value in request.items() if key in collection.MEMBERS}
    times = [item["properties"].get("processing:datetime") for item in items]
    processed = max((one for one in times if isinstance(one, str)), default="")
    document, findings = collection.document(name, members, items, processed, _vocabularies(desk, owner, project))
    if errors := [one for one in findings if one.level == "error"]:
        raise InputError(*(InputProblem(f"/{one.field}", one.message) for one in errors))
    size = sum(int(file.get("size") or 0) for one in planned for file in one["files"].values())
    return collection.bundle(document, items, size, _officer(request))


def _officer(request: Mapping[str, Any]) -> str:
    """Who gets the letter in copy: the contact with that role, where the request names one."""
    for one in request.get("contacts") or ():
        if any("officer" in role for role in one.get("roles") or ()):
            return f"{one['name']} <{one['email']}>" if one.get("email") else str(one["name"])
    return OFFICER


def _vocabularies(desk: Desk, owner: str, project: str) -> dict[str, Collection[str]]:
    """What the first catalog knows that can be read; nothing without one."""
    for offer in desk.publishers.offered():
        if not offer.repository:
            try:
                known = desk.publishers.vocabulary(offer.name, owner, project)
            except TargetError:
                continue
            names = ("projects", "themes", "variables", "missions", "licences")
            return {name: tuple(getattr(known, name)) for name in names}
    return {}
