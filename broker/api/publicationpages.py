"""The pages of publications: the form that publishes a job, the list, one with what people do about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import done, form
from broker.api.publishfields import contacts_of, field_of, fields_of, names_of, request_of
from broker.api.site import Site, site_of
from broker.errors import Forbidden, InputError, InputProblem, Missing, TargetError
from broker.execution.publishrequest import Asked
from broker.jobs import publication as life
from broker.jobs.publication import State
from broker.store import jobs, people, publications
from broker.store.publications import Event, Publication
from broker.web import page

if TYPE_CHECKING:
    from broker.execution.publishers import Offer, Publishers

router = guarded("Publications")
PUBLICATION_PAGES = ConformanceClass(router)
POLL, POLL_PROPOSED = 3, 30  # seconds between two looks of a page that somebody has open
LONGEST_DIFF = 200_000  # characters on a page
RELATED = {"after": "Built on", "previous": "Corrects", "promotes": "Promotes"}
FROM_THERE = {"after": "Built on by", "previous": "Corrected by", "promotes": "Promoted to"}
CHOICES = {
    "status": {"planned": "", "ongoing": "", "completed": ""},
    "doi": {"requested": "the catalog's bot drafts one", "declined": "there shall be none"},
}


# ---- the form


@router.get("/jobs/{job_id}/publications/new", name="publishPage", include_in_schema=False)
async def new(request: Request, job_id: str, caller: Caller) -> Response:
    """The form, once it is known where to; filled in with all that the broker knows."""
    await site_of(request).rows.read(_publishable, caller, job_id)
    return await _form_page(request, caller, job_id, tuple(request.query_params.getlist("target")), {})


@router.post("/jobs/{job_id}/publications/new", name="publishForm", include_in_schema=False)
async def send(request: Request, job_id: str, caller: Caller) -> Response:
    """What the form asks for: to be checked, or to be published, which shows it again where something is missing."""
    site = site_of(request)
    await site.rows.read(_publishable, caller, job_id)
    fields = await form(request)
    targets = tuple(fields[name] for name in names_of(fields, "target"))
    try:
        asked = request_of(fields)
    except InputError as problem:
        return await _form_page(request, caller, job_id, targets, {}, fields=fields, wrong=problem, status=400)
    if fields.get("do") != "publish":
        return await _form_page(request, caller, job_id, targets, asked)
    from broker.execution import publish as verbs  # noqa: PLC0415 - in memory where somebody publishes

    try:
        made = await site.rows.slow(
            verbs.request, site.broker.desk, caller, Asked.of({**asked, "target": list(targets)}, job_id)
        )
    except InputError as problem:
        return await _form_page(request, caller, job_id, targets, asked, wrong=problem, status=400)
    return done(f"{site.base(request)}/publications/{made[-1].id}?f=html")


def _publishable(tx: Connection, caller: Principal, job_id: str) -> None:
    caller.need(Scope.PUBLISH)
    jobs.get_to_change(tx, job_id, caller.reach)


async def _form_page(
    request: Request,
    caller: Principal,
    job_id: str,
    targets: Sequence[str],
    asked: Mapping[str, Any],
    *,
    fields: Mapping[str, str] | None = None,
    wrong: InputError | None = None,
    status: int = 200,
) -> Response:
    """The form for what is asked. `fields`: as they were typed, where they say nothing that can be asked."""
    site = site_of(request)
    publishers = site.broker.publishers
    offers = publishers.offered()
    chosen = [one.name for one in offers if one.name in targets]
    draft: Any = None
    lists: dict[str, Mapping[str, str]] = {}
    if chosen:
        draft, lists = await site.rows.slow(_drafted, site, caller, job_id, chosen, asked)
    shown = {**fields_of(draft["request"]), **(fields or {})} if draft else {}
    found, apart = _placed(draft["findings"] if draft else (), wrong, shown)
    return page(
        request,
        "publish.html",
        status=status,
        title="Publish results",
        job_id=job_id,
        offers=offers,
        chosen=chosen,
        draft=draft,
        asked={**asked, "target": chosen},
        fields=shown,
        names={name: names_of(shown, name) for name in ("themes", "variables", "missions")},
        numbers=contacts_of(shown),
        found=found,
        apart=apart,
        lists=lists,
        alternate=None,
    )


def _drafted(
    site: Site, caller: Principal, job_id: str, targets: Sequence[str], asked: Mapping[str, Any]
) -> tuple[Any, dict[str, Mapping[str, str]]]:
    """The draft as JSON, and the pick lists of the catalog that is among the targets."""
    from broker.execution import publish as verbs  # noqa: PLC0415 - in memory where somebody publishes

    drafted = verbs.check(site.broker.desk, caller, Asked.of({**asked, "target": list(targets)}, job_id))
    publishers = site.broker.publishers
    catalog = next((name for name in targets if not publishers.offer(name).repository), None)
    return drafted.to_json(), lists_of(publishers, catalog, caller.owner, drafted.subject.project)


def lists_of(publishers: Publishers, catalog: str | None, owner: str, project: str) -> dict[str, Mapping[str, str]]:
    """The pick lists; empty where there is no catalog, or it does not answer."""
    empty: Mapping[str, str] = {}
    found: dict[str, Mapping[str, str]] = dict.fromkeys(
        ("projects", "themes", "variables", "missions", "licences"), empty
    )
    if catalog is not None:
        try:
            known = publishers.vocabulary(catalog, owner, project)
        except TargetError:
            return found | CHOICES
        found = {name: getattr(known, name) for name in ("projects", "themes", "variables", "missions")}
        found["licences"] = dict.fromkeys(known.licences, "")
    return found | CHOICES


def _placed(
    findings: Sequence[Mapping[str, Any]], wrong: InputError | None, fields: Mapping[str, str]
) -> tuple[dict[str, list[tuple[str, str]]], list[dict[str, str]]]:
    """What is wrong or doubtful by field (level and words), and what has no field: prerequisites, files."""
    beside: dict[str, list[tuple[str, str]]] = {}
    apart = []
    told = [(str(one["level"]), str(one["field"]), _words(one)) for one in findings]
    known = {member for level, member, _ in told if level == "error"}
    if wrong is not None:  # mostly what the findings say as well
        told += [("error", one.pointer, one.detail) for one in wrong.problems if one.pointer.lstrip("/") not in known]
    for level, member, words in dict.fromkeys(told):
        if name := field_of(member, fields):
            beside.setdefault(name, []).append((level, words))
        else:
            apart.append({"level": level, "field": member, "words": words})
    return beside, apart


def _words(one: Mapping[str, Any]) -> str:
    allowed = f" Allowed: {', '.join(one['allowed'])}." if one.get("allowed") else ""
    return f"{one['message'].rstrip('.')}.{allowed}" + (f" Granted by {one['grants']}." if one.get("grants") else "")


# ---- the list, and one


def listing(request: Request, shown: Sequence[Publication], links: Sequence[Mapping[str, str]]) -> Response:
    """The page of a list."""
    query = request.query_params
    return page(
        request,
        "publications.html",
        title="Publications",
        found=shown,
        links=links,
        state=query.get("state", ""),
        job=query.get("job", ""),
        states=[("", "any"), *((one.value, one.value.replace("-", " ")) for one in State)],
    )


async def shown(
    request: Request,
    caller: Principal,
    found: Publication,
    events: Sequence[Event],
    linked: Mapping[str, Sequence[str]],
    addresses: Sequence[tuple[str, str]],
) -> Response:
    """The page of one."""
    site = site_of(request)
    offer = next((one for one in site.broker.publishers.offered() if one.name == found.target), None)
    names, agrees, changes = await site.rows.read(_about, site.broker.publishers, caller, found, events)
    may_approve = agrees and found.state is State.AWAITING
    brings = await site.rows.slow(_brings, site, caller, found.id) if may_approve else None
    may = changes and Scope.PUBLISH in caller.scopes
    related = [(words, id) for name, words in RELATED.items() if (id := getattr(found, name))]
    related += [(FROM_THERE[name], id) for name, ids in linked.items() for id in ids]
    return page(
        request,
        "publication.html",
        title=found.title or "Publication",
        one=found,
        events=events,
        related=related,
        addresses=[one for one in addresses if one[1].startswith(("https://", "http://"))],
        offer=offer,
        names=names,
        may_approve=may_approve,
        brings=brings,
        acts=_acts(found, offer) if may else (),
        changes=offer is not None and not offer.repository and found.state not in life.DONE,
        poll=_poll(found.state),
    )


def _about(
    tx: Connection, publishers: Publishers, caller: Principal, found: Publication, events: Sequence[Event]
) -> tuple[dict[str, str], bool, bool]:
    """The names of who acted, whether the caller may agree, and may change it."""
    ids = {found.owner, *(one.actor for one in events if one.actor)}
    try:
        publications.get_to_change(tx, found.id, caller.reach)
        changes = True
    except Forbidden:
        changes = False
    return people.names(tx, ids), publishers.may_approve(tx, caller, found.owner, found.project), changes


def _brings(site: Site, caller: Principal, publication_id: str) -> tuple[str, str | None]:
    """What who agrees is shown, cut where it is long, and its digest; why that cannot be shown, and None."""
    from broker.execution import publishbundle  # noqa: PLC0415 - in memory where somebody publishes

    try:
        text, digest = publishbundle.shown(site.broker.desk, caller, publication_id)
    except (InputError, Missing, TargetError) as error:
        return error.detail, None
    return text if len(text) <= LONGEST_DIFF else f"{text[:LONGEST_DIFF]}\n… the rest is in the whole diff.", digest


def _acts(found: Publication, offer: Offer | None) -> list[tuple[str, str, str]]:
    """(verb, words, class of the button) of what can be done now."""
    acts = []
    if found.state is State.FAILED:
        acts.append(("retry", "Try again", ""))
    elif found.state in life.WORKED:
        acts.append(("retry", "Look now", "quiet"))
    if offer is not None and offer.promotes_to and found.state in (State.PROPOSED, State.MERGED, State.LIVE):
        acts.append(("promote", f"Publish in {offer.promotes_to}", ""))
    if State.WITHDRAWN in life.LEGAL[found.state] and not life.taken(found.receipt) and not found.withdraw:
        acts.append(("withdraw", "Withdraw it", "danger"))
    return acts


def _poll(state: State) -> int | None:
    """Seconds between two looks; None where nothing changes any more."""
    if state in (State.PROPOSED, State.MERGED, State.AWAITING):
        return POLL_PROPOSED
    return POLL if state in life.WORKED | {State.WAITING} else None


@router.post("/publications/{publication_id}", name="publicationForm", include_in_schema=False)
async def act(request: Request, publication_id: str, caller: Caller) -> Response:
    """What a form of the page asks for (its field `do`), then the page. Raises as the verbs do."""
    from broker.execution import publish as verbs  # noqa: PLC0415 - in memory where somebody publishes

    site = site_of(request)
    await site.rows.read(publications.get, publication_id, caller.reach)
    fields = await form(request)
    given = (site.broker.desk, caller, publication_id)
    match fields.get("do"):
        case "approve":
            made = await site.rows.slow(verbs.approve, *given, fields.get("shown") or None)
        case "reject":
            made = await site.rows.slow(verbs.reject, *given, fields.get("reason", ""))
        case "retry":
            made = await site.rows.slow(verbs.retry, *given)
        case "promote":
            made = await site.rows.slow(verbs.promote, *given)
        case "withdraw":
            made = await site.rows.slow(verbs.withdraw, *given)
        case _:
            raise InputError(InputProblem("/do", "is nothing that this page can do"))
    return done(f"{site.base(request)}/publications/{made.id}?f=html")
