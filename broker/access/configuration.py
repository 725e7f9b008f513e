"""What an operator says about access: whose tokens count, what their claims mean, and who may act for whom."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from broker.access.addresses import secure
from broker.access.principal import Role, Scope

# asymmetric ones only: with HS256 whoever knows the public key could sign (RFC 8725, 2.1)
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Claims(Frozen):
    """Where a token says what: names of claims, or dotted paths into them (`realm_access.roles`)."""

    subject: str = "sub"
    name: str = "name"
    email: str = "email"
    orcid: str = "orcid"
    roles: str = "roles"


class Issuer(Frozen):
    """An OpenID Connect issuer. `url`: exactly its `iss`; `audience`: what `aud` must hold one of.

    `types`: the `typ` headers of its access tokens (RFC 9068: at+jwt; Keycloak says JWT). `client_id` and
    `client_secret`: of the broker, for logins of browsers; `cli_client_id`: of the command line, a public client for
    the device flow. `parameters`: what its authorization requests need besides (`resource`, `audience`).
    `roles`: value of the roles claim -> role; the highest counts. `default_role`: of everybody else; None: refused.
    `leeway`: seconds that clocks may differ by.
    """

    url: str
    title: str | None = None
    audience: tuple[str, ...] = Field(min_length=1)
    algorithms: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    types: tuple[str, ...] = ("at+jwt", "application/at+jwt")
    client_id: str | None = None
    client_secret: SecretStr | None = None
    cli_client_id: str | None = None
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    parameters: dict[str, str] = Field(default_factory=dict)
    claims: Claims = Claims()
    roles: dict[str, Role] = Field(default_factory=dict)
    default_role: Role | None = None
    leeway: float = Field(30.0, ge=0, le=300)

    @field_validator("url")
    @classmethod
    def _secure(cls, url: str) -> str:
        if not secure(url):
            raise ValueError("an issuer has an https address (http only on a loopback address)")
        return url

    @model_validator(mode="after")
    def _no_id_tokens(self) -> Self:
        """ID tokens are for the client that asked for them: taken here they would let any client act as its users."""
        types = {one.lower() for one in self.types}
        clients = {self.client_id, self.cli_client_id} - {None}
        if types - {"at+jwt", "application/at+jwt"} and clients & set(self.audience):
            raise ValueError(
                "where the types of access tokens are those of ID tokens too, the audience must not be a client id"
            )
        return self


class Delegate(Frozen):
    """A platform that may act for people: by header `Acting-For`, within these bounds.

    Who it is: `issuer` with `client` (its client id, of client-credentials tokens whose subject it is too) or with
    `subject`; or `owner` of tokens of this broker. `people`: patterns (`*`, `?`) of `issuer:subject`;
    `projects`: patterns of ids of projects, besides people's own; the person must be a member as well.
    """

    issuer: str | None = None
    client: str | None = None
    subject: str | None = None
    owner: str | None = None
    people: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    scopes: tuple[Scope, ...] = (Scope.READ, Scope.RUN)

    @model_validator(mode="after")
    def _one_identity(self) -> Self:
        ways = [self.client, self.subject, self.owner]
        if sum(way is not None for way in ways) != 1 or (self.owner is None) != (self.issuer is not None):
            raise ValueError("say who it is by issuer and client, by issuer and subject, or by owner of a token")
        if Scope.ADMIN in self.scopes:
            raise ValueError("the scope admin cannot be delegated")
        return self


class Access(Frozen):
    """Who is let in besides bearers of the broker's own tokens. Times in hours, days.

    `ca_file`: certificates to trust for the issuers, instead of the usual ones. `session_hours`: of a browser;
    `idle_hours`: without a request. `token_days`: the longest life of a token that a person makes.
    """

    issuers: dict[str, Issuer] = Field(default_factory=dict)
    delegates: dict[str, Delegate] = Field(default_factory=dict)
    ca_file: Path | None = None
    session_hours: float = Field(12.0, gt=0)
    idle_hours: float = Field(2.0, gt=0)
    token_days: float = Field(366.0, gt=0)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        for name in (*self.issuers, *self.delegates):
            if not _named(name):
                raise ValueError(f"{name!r}: names are of lower-case letters, digits and hyphens")
        if "callback" in self.issuers:
            raise ValueError("an issuer cannot be called callback: /login/callback is where browsers come back to")
        urls = [one.url for one in self.issuers.values()]
        if len(set(urls)) < len(urls):
            raise ValueError("two issuers have the same url; one issuer may have several audiences")
        for name, one in self.delegates.items():
            if one.issuer is not None and one.issuer not in self.issuers:
                raise ValueError(f"the delegate {name} is of an issuer {one.issuer!r} that is not configured")
        return self


def _named(name: str) -> bool:
    return 0 < len(name) <= 40 and all(c.isascii() and (c.islower() or c.isdigit() or c == "-") for c in name)
