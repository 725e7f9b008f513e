"""The FastAPI application: `create_app` is the factory that uvicorn calls."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from broker import settings as configuration
from broker.api import problems
from broker.api.audit import AUDIT
from broker.api.authentication import Gate
from broker.api.budgets import BUDGETS
from broker.api.callbacks import CALLBACKS
from broker.api.classes import ConformanceClass
from broker.api.comparisons import COMPARISON
from broker.api.credentials import CREDENTIALS
from broker.api.deployment import DEPLOYMENT
from broker.api.deploypages import DEPLOY_PAGE
from broker.api.estimates import ESTIMATES
from broker.api.execution import EXECUTION, execute_plain
from broker.api.health import HEALTH
from broker.api.jobfiles import FILES
from broker.api.joblogs import RECORDS
from broker.api.jobresults import RESULTS
from broker.api.jobs import JOBS, status
from broker.api.landing import CORE
from broker.api.line import Line
from broker.api.login import LOGIN, OWN
from broker.api.notices import NOTICES
from broker.api.platforms import PLATFORMS
from broker.api.processapi import PROCESS_API
from broker.api.processes import PROCESSES
from broker.api.processforms import FORMS
from broker.api.projectpublishing import PROJECT_PUBLISHING
from broker.api.projects import PROJECTS
from broker.api.provenance import PROVENANCE
from broker.api.publicationpages import PUBLICATION_PAGES
from broker.api.publications import PUBLICATIONS
from broker.api.quotas import QUOTAS
from broker.api.rate import RateFields, Rates
from broker.api.refusals import REFUSED, Refusals, writing
from broker.api.reproductions import REPRODUCTIONS
from broker.api.rows import Rows
from broker.api.sharing import SHARING
from broker.api.site import Site
from broker.api.targets import TARGETS
from broker.api.tokens import TOKENS
from broker.api.trouble import Trouble
from broker.api.uploads import UPLOADS
from broker.api.usage import USAGE
from broker.bootstrap import open_broker
from broker.queue.relay import Relay
from broker.queue.wakeups import Wakeups
from broker.settings import Rate, Settings
from broker.web import static

CLASSES: tuple[ConformanceClass, ...] = (
    JOBS, EXECUTION, CORE, PROCESSES, PROCESS_API, FORMS, DEPLOYMENT, DEPLOY_PAGE, RESULTS, RECORDS, FILES, UPLOADS,
    PROJECTS, PROJECT_PUBLISHING, SHARING, QUOTAS, USAGE, BUDGETS, PLATFORMS, ESTIMATES, NOTICES, HEALTH, AUDIT, LOGIN,
    OWN,
    TOKENS, CREDENTIALS, CALLBACKS, TARGETS, PUBLICATION_PAGES, PROVENANCE, COMPARISON, REPRODUCTIONS, PUBLICATIONS,
)  # fmt: skip
# routes are tried in this order: the busiest first
# of every answer that does not say otherwise: it is nobody else's, and no browser makes more of it than it says
PRIVATE = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API over one installation; opens it when the server starts. Raises SetupError then when it is not usable."""
    chosen = settings or configuration.load()

    rates = Rates(chosen.rate) if chosen.rate != Rate() else None

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        broker = open_broker(chosen)
        rows = Rows(broker.database, broker.quotas)
        gate = Gate(chosen, rows, broker.issuers_egress)
        await gate.check_setup()
        relay = Relay(broker)
        wakeups = Wakeups(chosen.redis)
        refusals = Refusals(rows)
        app.state.site = Site(broker, rows, gate, relay, wakeups, Line(rows), Trouble(rows), rates, refusals)
        relay.start()
        await wakeups.start()
        try:
            async with writing(refusals):
                yield
        finally:
            await wakeups.stop()
            relay.stop()
            rows.close()
            broker.database.close()

    app = FastAPI(
        title=chosen.api.title,
        description=chosen.api.description,
        version=_version(),
        lifespan=life,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.classes = CLASSES
    problems.register(app)
    app.router.routes += [
        Plain("/jobs/{job_id}", status, methods=["GET"]),
        Plain("/processes/{process_id}/execution", execute_plain, methods=["POST"]),
    ]
    for part in CLASSES:
        app.include_router(part.router)
    app.router.routes.append(Route("/static/{name:path}", static, methods=["GET"]))
    if chosen.api.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=chosen.api.cors_origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["*"],
            expose_headers=[
                "Location",
                "Link",
                "Preference-Applied",
                "Upload-Offset",
                "Log-Cursor",
                "ETag",
                "Retry-After",
                "RateLimit",
                "RateLimit-Policy",
            ],
        )
    if rates is not None:
        app.add_middleware(RateFields)
    app.add_middleware(Boundary)
    return app


class Plain(Route):
    """The busiest routes once more, for requests without a query: FastAPI's resolving costs more than they do."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        found, child = super().matches(scope)
        child["route"] = self
        return (found, child) if found is Match.FULL and not scope["query_string"] else (Match.NONE, {})


class Boundary:
    """Around everything: nothing that goes wrong leaves a client without an answer or the connection unusable."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            started = True
            if message["type"] == "http.response.start":
                fields = message["headers"]
                given = {name for name, _ in fields}
                message["headers"] = [*fields, *(one for one in PRIVATE if one[0] not in given)]
                if message["status"] in REFUSED:
                    scope["app"].state.site.refusals.add(scope, message["status"])
            await send(message)

        if "\0" in scope["path"] or b"%00" in scope["query_string"]:  # names nothing, and databases choke on it
            await problems.nothing_here(Request(scope))(scope, receive, sending)
            return
        try:
            await self.app(scope, receive, sending)
        except Exception as error:  # the boundary: it is logged, and answered
            answer = problems.internal(Request(scope), error)
            if started:
                raise  # the server cuts the connection: the client must not take what it has for the whole
            await answer(scope, receive, sending)


def _version() -> str:
    try:
        return version("earthcode-broker")
    except PackageNotFoundError:  # run from the source
        return "0"
