"""Where this broker publishes, and what the catalogs among these know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response

from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.paging import Representation
from broker.api.site import site_of

if TYPE_CHECKING:
    from broker.execution.publishers import Offer

router = guarded("Publications")
TARGETS = ConformanceClass(router)


@router.get("/targets", name="targets")
async def targets(request: Request, caller: Caller, f: Representation = None) -> Response:
    """Where results can be published. `takes`: items (a repository) or records (a catalog)."""
    representation(request, {"json": JSON})
    site = site_of(request)
    base = site.base(request)
    offers = [_document(offer, base) for offer in site.broker.publishers.offered()]
    return Json({"targets": offers, "links": [link(f"{base}/targets", "self", "This list")]})


@router.get("/targets/{name}/vocabulary", name="vocabulary")
async def vocabulary(request: Request, name: str, caller: Caller, f: Representation = None) -> Response:
    """What a catalog knows, as of some minutes ago: its projects, themes, variables and missions (id and title), and
    the licences that it takes."""
    representation(request, {"json": JSON})
    site = site_of(request)
    found = await site.rows.slow(site.broker.publishers.vocabulary, name, caller.owner, caller.project)
    known: dict[str, Any] = {
        kind: _entries(getattr(found, kind)) for kind in ("projects", "themes", "variables", "missions")
    }
    here = f"{site.base(request)}/targets/{name}/vocabulary"
    return Json({**known, "licences": found.licences, "links": [link(here, "self", "This document")]})


def _document(offer: Offer, base: str) -> dict[str, Any]:
    full = {
        "name": offer.name,
        "kind": offer.kind,
        "takes": "items" if offer.repository else "records",
        "title": offer.title,
        "contact": offer.contact,
        "test": offer.test,
        "approval": offer.approval,
        "promotesTo": offer.promotes_to,
        "collection": offer.collection,
        "reads": offer.reads,
        "home": offer.home,
    }
    found = {name: value for name, value in full.items() if value is not None}
    if offer.repository:
        return found
    return {**found, "links": [link(f"{base}/targets/{offer.name}/vocabulary", "related", "What it knows")]}


def _entries(titles: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"id": name, "title": title} for name, title in titles.items()]
