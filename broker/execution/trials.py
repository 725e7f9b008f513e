"""Trials: a credential is used once against what it is for, and what the other side answers is said."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from broker.access.credential import Kind, Secret
from broker.egress import Answer, Egress, shown
from broker.errors import CredentialRefused, InputError, InputProblem
from broker.execution.registries import Registry
from broker.jobs.secrets import origin
from broker.platform import Entered
from broker.results.configuration import GitHubCatalog, PrrRepository, Publishing
from broker.storage.signing import S3Account

Trial = Callable[[Secret, "str | None"], "str | Entered"]


@dataclass(frozen=True, slots=True)
class Door:
    """Where a credential for a target of publications is used, as the operator configured that. A `body` is one that
    is refused, but after the look at the credential."""

    method: str
    url: str
    body: bytes | None = None


_SMALL = 64 * 1024
_S3_ERROR = re.compile(r"<(Code|Message)>([^<]{1,300})</\1>")
_NO = frozenset({401, 403, 407})


def account(secret: Secret) -> S3Account:
    """The S3 account of a credential."""
    fields = secret.fields
    return S3Account(
        fields.get("endpoint"),
        fields.get("region", "us-east-1"),
        fields["accessKey"],
        fields["secretKey"],
        fields.get("sessionToken"),
    )


def door(publishing: Publishing, secret: Secret) -> Door | None:
    """Of a credential that opens a target of publications; None of others."""
    for target in publishing.targets.values():
        match target:
            case PrrRepository() if (secret.kind, secret.target) == (Kind.PRR, origin(target.reg_api)):
                url = f"{target.reg_api.rstrip('/')}/collections/{target.collection or '-'}/items"
                return Door("POST", url, b"{}")
            case GitHubCatalog() if secret.kind is Kind.GITHUB:
                if secret.target == f"{target.web.rstrip('/')}/{target.repository}":
                    return Door("GET", f"{target.api.rstrip('/')}/repos/{target.repository}")
    return None


def tried(
    egress: Egress, insecure: Sequence[str], secret: Secret, url: str | None = None, door: Door | None = None
) -> str:
    """What the other side answered, where it takes the credential. `url`: where to try an http credential (default:
    the root of its origin); `insecure`: registries without TLS; `door`: where else it is tried.

    Raises CredentialRefused with what it answered otherwise (and never a secret), EgressRefused and FetchError where
    it cannot be asked.
    """
    if door is not None:
        return _asked(egress, door, secret, missing=door.body is None, trusted=True)
    trial = {
        Kind.S3: _s3,
        Kind.HTTP: _http,
        Kind.PRR: _api,
        Kind.GITHUB: _github,
    }.get(secret.kind)
    if trial is not None:
        return trial(egress, secret, url)
    status = Registry(egress, secret.target, secret, insecure=secret.target in insecure).check()
    if status == 200:
        return f"{secret.target} takes it."
    raise _refused(secret, f"{secret.target} answered {status}")


def _s3(egress: Egress, secret: Secret, url: str | None) -> str:
    bucket = secret.target.removeprefix("s3://")
    signed = account(secret).signed(bucket, "", 300, query={"list-type": "2", "max-keys": "1"})
    with egress.request("GET", signed, redirects=0, limit=_SMALL) as answer:
        if answer.status == 200:
            return f"{secret.target} can be listed."
        text = answer.read().decode("utf-8", "replace")
    said = ": ".join(value for _, value in _S3_ERROR.findall(text))
    raise _refused(secret, f"{secret.target} answered {answer.status}" + (f" ({said})" if said else ""))


def _http(egress: Egress, secret: Secret, url: str | None) -> str:
    where = url or secret.target + "/"
    if origin(where) != secret.target:
        raise InputError(InputProblem("/test", f"an address of {secret.target}"))
    return _asked(egress, Door("HEAD", where), secret)


def _api(egress: Egress, secret: Secret, url: str | None) -> str:
    return _asked(egress, Door("GET", secret.target + "/"), secret)


def _github(egress: Egress, secret: Secret, url: str | None) -> str:
    place, path = origin(secret.target), urlsplit(secret.target).path
    api = "https://api.github.com" if place == "https://github.com" else f"{place}/api/v3"
    return _asked(egress, Door("GET", f"{api}/repos{path}"), secret, missing=True)


def _asked(egress: Egress, door: Door, secret: Secret, *, missing: bool = False, trusted: bool = False) -> str:
    """One authorised request. `missing`: whether a 404 means that the credential does not see it; `trusted`: the
    operator gave the address."""
    url, headers = door.url, {"Authorization": secret.authorization}
    if door.body is not None:
        headers["Content-Type"] = "application/json"
    with egress.request(
        door.method, url, headers=headers, body=door.body, trusted=trusted, redirects=0, limit=_SMALL
    ) as answer:
        status = answer.status
        if 300 <= status < 400:
            raise _refused(secret, f"{shown(url)} redirects to {_aim(answer)}, as to a page to log in")
    wrong = _NO if door.body is None else _NO - {403}  # who may not register in this collection may in another
    if status in wrong or status >= 500 or (missing and status == 404):
        raise _refused(secret, f"{shown(url)} answered {status}")
    return f"{shown(url)} answered {status}."


def _aim(answer: Answer) -> str:
    return shown(answer.headers.get("Location", ""))[:200]


def _refused(secret: Secret, said: str) -> CredentialRefused:
    return CredentialRefused(
        InputProblem("", secret.scrubbed(f"the credential was tried, and {said}")),
        hint="Check it, or keep it without a trial: --no-test (over HTTP: ?test=false).",
    )
