"""The landing page, the conformance declaration and the API definition: what a client has to know first."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from broker.api import aboutpages, openapi
from broker.api.answers import JSON, OGC, Json, link, representation
from broker.api.classes import PART1, ConformanceClass, public
from broker.api.paging import Representation
from broker.api.site import site_of
from broker.web import HTML

router = public("About")
OFFERS = {"json": JSON, "html": HTML}
CORE = ConformanceClass(
    router,
    (PART1 + "core", PART1 + "json", PART1 + "html", PART1 + "oas30"),
    (
        ("/api", "service-desc", "What this API offers, as OpenAPI"),
        ("/conformance", OGC + "conformance", "Which standards this API keeps"),
    ),
)


@router.get("/", name="landing")
async def landing(request: Request, f: Representation = None) -> Response:
    """Where to go from here."""
    if representation(request, OFFERS) == "html":
        return await aboutpages.landing(request)
    site = site_of(request)
    base = site.base(request)
    links = [
        link(f"{base}/", "self", "This page"),
        link(f"{base}/?f=html", "alternate", "This page as HTML", HTML),
        link(f"{base}/api?f=html", "service-doc", "What this API offers, in words", HTML),
    ]
    for part in request.app.state.classes:
        for path, rel, title in part.links:
            links.append(link(base + path, rel, title, openapi.MEDIA_TYPE if path == "/api" else JSON))
    return Json({"title": site.settings.api.title, "description": site.settings.api.description, "links": links})


@router.get("/conformance", name="conformance")
async def conformance(request: Request, f: Representation = None) -> Response:
    """The conformance classes that are done."""
    uris = [uri for part in request.app.state.classes for uri in part.uris]
    if representation(request, OFFERS) == "html":
        return await aboutpages.conformance(request, uris)
    return Json({"conformsTo": uris})


@router.get("/api", name="api")
async def api(request: Request, f: Representation = None) -> Response:
    """This API as an OpenAPI document: 3.0, or 3.1 (`?f=openapi31`, or by Accept)."""
    chosen = openapi.wanted(request)
    document = openapi.definition(request.app, site_of(request).base(request), chosen)
    if chosen == "html":
        return await aboutpages.reference(request, document)
    return Json(document, media_type=openapi.OFFERS[chosen])
