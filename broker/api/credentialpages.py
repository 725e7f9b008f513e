"""The pages of credentials: forms that take secrets, and never show one again, not even in what was refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.credential import FIELDS, Kind
from broker.access.principal import WORKS, Principal, Scope
from broker.api.forms import errors
from broker.api.site import site_of
from broker.errors import BrokerError, Forbidden
from broker.platform import Entered
from broker.store import credentials, people, projects
from broker.store.credentials import Credential
from broker.store.visible import PRIVATE, PROJECT
from broker.web import page

MOST_PROJECTS = 200
KINDS: Mapping[Kind, tuple[str, str]] = {
    Kind.S3: ("A bucket", "Inputs at s3:// addresses are fetched with it."),
    Kind.HTTP: ("A web server", "Inputs at https:// addresses behind a login are fetched with it."),
    Kind.REGISTRY: ("An image registry", "Images that are not public are pulled with it."),
    Kind.PRR: ("A results repository", "Results are published there with it, such as ESA's PRR."),
    Kind.GITHUB: ("A GitHub repository", "Records are proposed there with it."),
    Kind.OPENEO: ("An openEO platform", "Your jobs run there with it, in your own account."),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form."""

    name: str
    label: str
    about: str = ""
    required: bool = False
    secret: bool = False


TOKEN = Field("token", "Token", required=True, secret=True)
LOGIN = (
    Field("token", "Token", "Or a user name and a password.", secret=True),
    Field("username", "User name"),
    Field("password", "Password", secret=True),
)
FORMS: Mapping[Kind, tuple[Field, ...]] = {
    Kind.S3: (
        Field("bucket", "Bucket", "Its name, without s3://", required=True),
        Field("endpoint", "Endpoint", "https://host of the service; empty for AWS."),
        Field("region", "Region", "Empty where the service has none."),
        Field("accessKey", "Access key", "Its id.", required=True),
        Field("secretKey", "Secret key", required=True, secret=True),
        Field("sessionToken", "Session token", "Only where the service gave one with the keys.", secret=True),
    ),
    Kind.HTTP: (
        Field("origin", "Server", "Such as https://data.example.org", required=True),
        *LOGIN,
        Field("test", "Address to try it at", "Of a file there; empty for the server's front page."),
    ),
    Kind.REGISTRY: (
        Field("host", "Registry", "Its host, such as ghcr.io", required=True),
        Field("username", "User name", required=True),
        Field("password", "Password or token", required=True, secret=True),
    ),
    Kind.PRR: (
        Field("origin", "Repository", "Of its API, such as https://eoresults.esa.int", required=True),
        *LOGIN,
    ),
    Kind.GITHUB: (Field("repository", "Repository", "owner/repository", required=True), TOKEN),
    Kind.OPENEO: (
        Field("origin", "Platform", "Such as https://openeo.example.org", required=True),
        Field("username", "User name", "Leave this and what follows empty to log in there in your browser."),
        Field("password", "Password", secret=True),
        Field("clientId", "Client", "With a refresh token: the client that it was given to."),
        Field("refreshToken", "Refresh token", "Or a user name and a password.", secret=True),
        Field("provider", "Identity provider", "Its id at the platform; empty for the first one."),
    ),
}
# of what was typed these are shown again when a form is refused: no secret, no name of an account
SHOWN_AGAIN = frozenset({"name", "project", "try", "test", "endpoint", "region"}) | {one[0] for one in FIELDS.values()}


def body(kind: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """What a program would send in the place of the form; what was left empty is left out."""
    forms = FORMS.get(Kind(kind), ()) if kind in list(Kind) else ()
    given = {one.name: value for one in forms if (value := fields.get(one.name, ""))}
    return {**given, "kind": kind, "shared": PROJECT if fields.get("project") else PRIVATE}


def acting(caller: Principal, project: str) -> Principal:
    """The caller in a project that a form names; whether they work in it is asked when something is shared with it.

    Raises Forbidden for a request that is for another project.
    """
    if not project or project == caller.project:
        return caller
    if caller.project != caller.owner:
        raise Forbidden(f"This request is for the project {caller.project}: it shares with no other one.")
    return replace(caller, project=project)


async def listing(
    request: Request,
    caller: Principal,
    found: Sequence[Credential],
    *,
    typed: Mapping[str, str] | None = None,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    """The list, and the form of the kind that was chosen, if any. A link fills in nothing but a credential that is
    here already: it must not say where a secret goes that is typed here."""
    if typed is None:
        replaced = next((one for one in found if one.id == request.query_params.get("replace")), None)
        typed = {"kind": request.query_params.get("kind", "")} if replaced is None else _of(replaced)
    chosen = Kind(typed["kind"]) if typed.get("kind") in list(Kind) else None
    fields = FORMS[chosen] if chosen else ()
    wrong = errors(refused)
    return page(
        request,
        "credentials.html",
        status=status,
        title="Credentials",
        credentials=found,
        me=caller.owner,
        names=await site_of(request).rows.read(people.names, {one.owner for one in found}),
        kinds=[(one.value, *words) for one, words in KINDS.items()],
        chosen=None if chosen is None else (chosen.value, *KINDS[chosen]),
        fields=fields,
        labels={"name": "Name"} | {one.name: one.label for one in fields},
        # what is wrong may be a secret in the wrong field
        typed={name: value for name, value in typed.items() if name in SHOWN_AGAIN and name not in wrong},
        again=refused is not None,
        errors=wrong,
        projects=await site_of(request).rows.read(_projects, caller) if chosen else [],
        may_keep=Scope.RUN in caller.scopes,
        alternate=f"{site_of(request).base(request)}/credentials?f=json",
    )


def _of(row: Credential) -> Mapping[str, str]:
    """What the form shows of a credential that is to be replaced."""
    subject = FIELDS[Kind(row.kind)][0]
    project = row.project if row.shared == PROJECT else ""
    return {"kind": row.kind, "name": row.name, subject: row.target.removeprefix("s3://"), "project": project}


def _projects(tx: Connection, caller: Principal) -> list[tuple[str, str]]:
    """Who may use a credential besides oneself."""
    mine = projects.page(tx, caller.owner, caller.owner, limit=MOST_PROJECTS)
    working = [(one.id, f"members of the project {one.title}") for one in mine if one.part in WORKS]
    return [("", "nobody else"), *working]


async def shown(
    request: Request,
    caller: Principal,
    name: str,
    *,
    said: str | Entered | None = None,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    """The page of one. `said`: what the other side has just answered."""
    row, changes = await site_of(request).rows.read(_one, name, caller)
    return page(
        request,
        "credential.html",
        status=status,
        title=f"Credential {row.name}",
        row=row,
        kind=KINDS[Kind(row.kind)][0],
        changes=changes,
        mine=row.owner == caller.owner,
        may_try=Scope.RUN in caller.scopes,
        said=said.message if isinstance(said, Entered) else said,
        login=said.login if isinstance(said, Entered) else None,
        errors=errors(refused),
    )


def _one(tx: Connection, name: str, caller: Principal) -> tuple[Credential, bool]:
    """(the row, whether the caller may change it)."""
    row = credentials.get(tx, name, caller.reach)
    if Scope.RUN not in caller.scopes:
        return row, False
    try:
        credentials.get_to_change(tx, row.id, caller.reach)
    except Forbidden:
        return row, False
    return row, True
