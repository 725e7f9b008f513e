"""Named credentials: what they are for, the fields that each kind has, and what of them may be shown.

| kind | target | fields |
|---|---|---|
| s3 | `s3://bucket` | endpoint, region, accessKey, secretKey |
| http | origin, `https://data.example.org` | token, or username and password |
| registry | host, `ghcr.io` | username and password (or `token`, which registries take in its place) |
| prr | origin of the PRR's API | username and password, or token |
| github | `https://github.com/owner/repository` | token |
| openeo | origin of a platform | username and password, or clientId and refreshToken, provider |
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from broker.errors import InputError, InputProblem
from broker.jobs.secrets import origin, scrubbed
from broker.packages.images import HOSTS_OF_DOCKER, Reference

LONGEST = 8192  # characters of one field
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?\Z")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]\Z")
_REPOSITORY = re.compile(r"[A-Za-z0-9_-]{1,39}/[A-Za-z0-9._-]{1,100}\Z")


class Kind(StrEnum):
    S3 = "s3"
    HTTP = "http"
    REGISTRY = "registry"
    PRR = "prr"
    GITHUB = "github"
    OPENEO = "openeo"


_OF_A_LOGIN = frozenset({"deviceCode", "verifier"})  # while somebody logs in in a browser
# kind -> (what names the target, fields that are secret, others)
FIELDS: Mapping[Kind, tuple[str, frozenset[str], frozenset[str]]] = {
    Kind.S3: ("bucket", frozenset({"secretKey", "sessionToken"}), frozenset({"endpoint", "region", "accessKey"})),
    Kind.HTTP: ("origin", frozenset({"token", "password"}), frozenset({"username"})),
    Kind.REGISTRY: ("host", frozenset({"token", "password"}), frozenset({"username"})),
    Kind.PRR: ("origin", frozenset({"token", "password"}), frozenset({"username"})),
    Kind.GITHUB: ("repository", frozenset({"token"}), frozenset()),
    Kind.OPENEO: ("origin", frozenset({"password", "refreshToken"}), frozenset({"username", "clientId", "provider"})),
}


@dataclass(frozen=True, slots=True)
class Secret:
    """A credential as it was given, or as it was opened. What it is for may be shown, `fields` never."""

    kind: Kind
    target: str
    fields: Mapping[str, str] = field(repr=False)

    @property
    def authorization(self) -> str:
        """The Authorization header: Basic where there is a password, else Bearer."""
        if "password" in self.fields:
            pair = f"{self.fields.get('username', '')}:{self.fields['password']}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        return f"Bearer {self.fields['token']}"

    @property
    def entering(self) -> bool:
        """Whether it is a login that somebody is to confirm in a browser."""
        return self.kind is Kind.OPENEO and not {"password", "refreshToken"} & {*self.fields}

    def scrubbed(self, text: str) -> str:
        """A text of the other side, without what is secret should it repeat it."""
        secret = [value for name, value in self.fields.items() if name in FIELDS[self.kind][1] | _OF_A_LOGIN]
        if self.kind not in (Kind.S3, Kind.OPENEO):
            secret.append(self.authorization.partition(" ")[2])
        return scrubbed(text, secret)


def name_of(text: str) -> str:
    """The name of a credential. Raises InputError."""
    if not _NAME.match(text):
        raise InputError(InputProblem("/name", "1 to 63 of a-z, 0-9, dot, dash and underline; letters at both ends"))
    return text


def parse(body: Mapping[str, Any], *, plain: Callable[[str], bool]) -> Secret:
    """The credential in the body of a request. `plain`: whether a host may be spoken to without TLS.

    Raises InputError, which names members and never repeats a value.
    """
    try:
        kind = Kind(body.get("kind", ""))
    except (ValueError, TypeError):
        raise InputError(InputProblem("/kind", f"one of {', '.join(Kind)}")) from None
    subject, secret, others = FIELDS[kind]
    problems = [
        InputProblem(f"/{name}", "a text of printable characters, not empty")
        for name in {subject} | secret | others
        if (value := body.get(name)) is not None and not _usable(value)
    ]
    if body.get(subject) is None:
        problems.append(InputProblem(f"/{subject}", "is missing"))
    # a slip of the pen puts a secret anywhere: names are repeated here only where they look like names
    known = {"kind", "shared", "test", subject} | secret | others
    unknown = [name for name in body if name not in known]
    problems += [InputProblem("", f"a {kind} credential has no other members than {', '.join(sorted(known))}")][
        : len(unknown)
    ]
    if problems:
        raise InputError(*problems)
    fields = {name: str(body[name]) for name in secret | others if body.get(name) is not None}
    if kind is Kind.REGISTRY and "token" in fields and "password" not in fields:
        fields["password"] = fields.pop("token")
    if problem := _lacking(kind, fields):
        raise InputError(InputProblem("", problem))
    return Secret(kind, _target(kind, subject, str(body[subject]), fields, plain), fields)


def _usable(value: Any) -> bool:
    # what ends up in a header or a file of another program must not begin a new line there
    return isinstance(value, str) and 0 < len(value) <= LONGEST and value.isprintable() and value == value.strip()


def _lacking(kind: Kind, fields: Mapping[str, str]) -> str | None:
    if kind is Kind.S3:
        missing = [name for name in ("accessKey", "secretKey") if name not in fields]
        return f"{' and '.join(missing)} missing" if missing else None
    if kind is Kind.GITHUB:
        return None if "token" in fields else "token is missing"
    if kind is Kind.OPENEO:
        if {"refreshToken", "password"} <= {*fields} or ("username" in fields and "password" not in fields):
            return "a username and a password, or a clientId and a refreshToken, or none of them to log in in a browser"
        if "refreshToken" in fields and "clientId" not in fields:
            return "a refreshToken needs the clientId that it was given to"
    elif ("token" in fields) == ("password" in fields):
        return "either a token, or a username and a password"
    if "password" in fields and "username" not in fields:
        return "a password needs a username"
    if ":" in fields.get("username", "") and "password" in fields:
        return "a username with a colon cannot be sent"
    if any(not value.isascii() for name, value in fields.items() if name == "token"):
        return "a token has only ASCII characters"
    return None


def _target(kind: Kind, subject: str, text: str, fields: Mapping[str, str], plain: Callable[[str], bool]) -> str:
    """The target in its one spelling. Raises InputError."""
    if kind is Kind.S3:
        bucket = text.removeprefix("s3://").rstrip("/")
        if not _BUCKET.match(bucket):
            raise InputError(InputProblem("/bucket", "the name of a bucket: 3 to 63 of a-z, 0-9, dot, dash"))
        if "endpoint" in fields:
            _origin("/endpoint", fields["endpoint"], plain)
        return f"s3://{bucket}"
    if kind is Kind.REGISTRY:
        host = text.removeprefix("https://").rstrip("/").lower()
        if host in HOSTS_OF_DOCKER:
            return "docker.io"
        if not Reference.is_host(host):
            raise InputError(
                InputProblem("/host", "the host of a registry, such as ghcr.io or registry.example.org:5000")
            )
        return host
    if kind is Kind.GITHUB:
        url = text if "://" in text else f"https://github.com/{text}"
        place = _origin("/repository", url, plain, path=True)
        path = urlsplit(url).path.strip("/").removesuffix(".git")
        if not _REPOSITORY.match(path):
            raise InputError(InputProblem("/repository", "owner/repository"))
        return f"{place}/{path}"
    return _origin(f"/{subject}", text, plain)


def _origin(pointer: str, text: str, plain: Callable[[str], bool], *, path: bool = False) -> str:
    found = origin(text)
    parts = urlsplit(text) if found else None
    if found is None or parts is None or parts.query or parts.fragment or (parts.path.strip("/") and not path):
        raise InputError(InputProblem(pointer, "scheme and host, without a path: https://data.example.org"))
    if found.startswith("http:") and not plain(parts.hostname or ""):
        raise InputError(InputProblem(pointer, "https, so that nobody on the way reads the credential"))
    return found
