"""Credentials of people and projects: written, tried and removed here; nobody reads a secret back."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from broker.access.credential import Secret, parse
from broker.access.principal import Principal, Scope
from broker.api import answers, bodies, credentialpages
from broker.api.answers import JSON, Json, link, representation
from broker.api.authentication import Caller
from broker.api.classes import ConformanceClass, guarded
from broker.api.forms import done, form, mendable
from broker.api.paging import Representation
from broker.api.site import Site, site_of
from broker.errors import BrokerError, InputError, InputProblem
from broker.execution import credentials as verbs
from broker.platform import Entered
from broker.store import credentials
from broker.store.credentials import Credential
from broker.store.visible import PRIVATE, PROJECT
from broker.web import HTML

router = guarded("Credentials")
CREDENTIALS = ConformanceClass(router, (), (("/credentials", "related", "Credentials of you and your projects"),))
OFFERS = {"json": JSON, "html": HTML}
LONGEST = 64 * 1024
Try = Annotated[bool, Query(description="Whether it is tried against the other side before it is kept.")]


@router.get("/credentials", name="credentials")
async def page(request: Request, caller: Caller, f: Representation = None) -> Response:
    """One's own, and those that are shared with one's projects: what they are for, never what is secret."""
    kind = representation(request, OFFERS)
    site = site_of(request)
    found = await site.rows.read(credentials.page, caller.reach)
    if kind == "html":
        return await credentialpages.listing(request, caller, found)
    base = site.base(request)
    return Json(
        {
            "credentials": [document(row, base) for row in found],
            "links": [link(f"{base}/credentials", "self", "This list")],
        }
    )


@router.post("/credentials", name="keepCredentialForm", include_in_schema=False)
async def keep_by_form(request: Request, caller: Caller) -> Response:
    """The form of the page: make or replace a credential, once it was tried."""
    caller.need(Scope.RUN)
    site = site_of(request)
    fields = await form(request)
    try:
        acting = credentialpages.acting(caller, fields.get("project", ""))
        body = credentialpages.body(fields.get("kind", ""), fields)
        secret, url = parse(body, plain=site.broker.plain_host), body.get("test")
        given = (fields.get("name", ""), secret, body["shared"], url, "try" in fields)
        row, _, said = await site.rows.slow(_keep, site, acting, *given)
    except BrokerError as refused:
        status = mendable(request, refused)
        found = await site.rows.read(credentials.page, caller.reach)
        return await credentialpages.listing(request, caller, found, typed=fields, refused=refused, status=status)
    if isinstance(said, Entered) and said.login is not None:  # the code is for who asked, and on this page only
        return await credentialpages.shown(request, caller, row.id, said=said)
    return done(f"{site.base(request)}/credentials/{quote(row.id, safe='')}?f=html")


@router.get("/credentials/{name}", name="credential")
async def one(request: Request, name: str, caller: Caller, f: Representation = None) -> Response:
    """One credential, by the name that one gave it or by its id: what it is for, never what is secret."""
    if representation(request, OFFERS) == "html":
        return await credentialpages.shown(request, caller, name)
    site = site_of(request)
    return Json(document(await site.rows.read(credentials.get, name, caller.reach), site.base(request)))


@router.put("/credentials/{name}", name="keepCredential")
async def keep(request: Request, name: str, caller: Caller, test: Try = True) -> Response:
    """Make or replace a credential. It is tried first (`?test=false`: not); one that is refused is not kept.

    `kind`: s3 (bucket, endpoint, region, accessKey, secretKey), http (origin, and token or username and password),
    registry (host, username, password), prr (as http), github (repository, token), openeo (origin of a platform, and
    username and password, or clientId and refreshToken; with none of them a login begins: `login` in the answer says
    which code to confirm where, and each `POST /credentials/{name}/test` looks whether somebody did). `shared`:
    private, or project for the one that Acting-Project names. `test`: where to try an http credential. `insteadOf`, in
    the answer: others of yours for the same, which are not used from now on.
    """
    caller.need(Scope.RUN)
    site = site_of(request)
    body, _ = await bodies.parsed_object(request, LONGEST)
    shared, url = _choice(body, "shared", (PRIVATE, PROJECT)), body.get("test")
    if url is not None and not isinstance(url, str):
        raise InputError(InputProblem("/test", "an address"))
    secret = parse(body, plain=site.broker.plain_host)
    row, new, said = await site.rows.slow(_keep, site, caller, name, secret, shared, url, test)
    base, others = site.base(request), await site.rows.read(credentials.beside, row)
    shown = document(row, base) | _answered(said) | ({"insteadOf": others} if others else {})
    headers = {"Location": f"{base}/credentials/{quote(row.name, safe='')}"} if new else {}
    return Json(shown, 201 if new else 200, headers)


def _keep(
    site: Site, caller: Principal, name: str, secret: Secret, shared: str | None, url: str | None, test: bool
) -> tuple[Credential, bool, str | Entered | None]:
    broker = site.broker
    trial = broker.try_credential if test and "refreshToken" not in secret.fields else None
    return verbs.keep(broker.database, broker.vault, caller, name, secret, shared=shared, trial=trial, url=url)


@router.delete("/credentials/{name}", name="removeCredential", status_code=204)
async def remove(request: Request, name: str, caller: Caller) -> Response:
    """Remove a credential: jobs that start from now on do without it."""
    site = site_of(request)
    await site.rows.quick(verbs.remove, site.broker.database, caller, name)
    return Response(status_code=204)


@router.post("/credentials/{name}/test", name="testCredential")
async def test(request: Request, name: str, caller: Caller) -> Response:
    """Try a credential as it is kept. A body may name the address for one of http: {"test": "https://…"}."""
    site = site_of(request)
    body, _ = await bodies.parsed_object(request, LONGEST)
    url = body.get("test")
    if url is not None and not isinstance(url, str):
        raise InputError(InputProblem("/test", "an address"))
    row, said = await site.rows.slow(_test, site, caller, name, url)
    return Json(document(row, site.base(request)) | _answered(said))


@router.post("/credentials/{name}", name="credentialForm", include_in_schema=False)
async def form_of(request: Request, name: str, caller: Caller) -> Response:
    """The forms of its page: `do` is test or remove."""
    site = site_of(request)
    fields = await form(request)
    try:
        match fields.get("do"):
            case "test":
                _, said = await site.rows.slow(_test, site, caller, name, fields.get("test") or None)
            case "remove":
                await site.rows.quick(verbs.remove, site.broker.database, caller, name)
                return done(f"{site.base(request)}/credentials?f=html")
            case _:
                raise InputError(InputProblem("/do", "is nothing that this page can do"))
    except BrokerError as refused:
        status = mendable(request, refused)
        return await credentialpages.shown(request, caller, name, refused=refused, status=status)
    return await credentialpages.shown(request, caller, name, said=said)


def _answered(said: str | Entered | None) -> dict[str, Any]:
    """What the other side said, and the login that is waited for."""
    if not isinstance(said, Entered):
        return {"answered": said} if said else {}
    login = said.login and {**said.login, "expires": answers.time(said.login["expires"])}
    return {"answered": said.message} | ({"login": login} if login else {})


def _test(site: Site, caller: Principal, name: str, url: str | None) -> tuple[Credential, str | Entered]:
    broker = site.broker
    return verbs.try_again(broker.database, broker.vault, caller, name, broker.try_credential, url)


def document(row: Credential, base: str) -> dict[str, Any]:
    """A row as the API shows it."""
    return {
        "id": row.id,
        "name": row.name,
        "kind": row.kind,
        "target": row.target,
        "owner": row.owner,
        "project": row.project,
        "shared": row.shared,
        "tested": row.tested,
        "created": answers.time(row.created),
        "changed": answers.time(row.changed),
        "lastUsed": None if row.used is None else answers.time(row.used),
        "links": [link(f"{base}/credentials/{quote(row.id, safe='')}", "self", row.name)],
    }


def _choice(body: dict[str, Any], name: str, choices: tuple[str, ...]) -> str | None:
    value = body.get(name)
    if value is not None and value not in choices:
        raise InputError(InputProblem(f"/{name}", f"one of {', '.join(choices)}"))
    return value
