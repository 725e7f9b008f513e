"""Trials: a credential is used once against what it is for, and what the other side answers is said."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from broker.access.credential import Kind, Secret
from broker.egress import Answer, Egress, shown
from broker.errors import CredentialRefused, InputError, InputProblem
from broker.execution.registries import Registry
from broker.jobs.secrets import origin
from broker.storage.signing import S3Account

Trial = Callable[[Secret, "str | None"], str]
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


def tried(egress: Egress, insecure: Sequence[str], secret: Secret, url: str | None = None) -> str:
    """What the other side answered, where it takes the credential. `url`: where to try an http credential (default:
    the root of its origin); `insecure`: registries without TLS.

    Raises CredentialRefused with what it answered otherwise (and never a secret), EgressRefused and FetchError where
    it cannot be asked.
    """
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
    return _asked(egress, "HEAD", where, secret)


def _api(egress: Egress, secret: Secret, url: str | None) -> str:
    return _asked(egress, "GET", secret.target + "/", secret)


def _github(egress: Egress, secret: Secret, url: str | None) -> str:
    place, path = origin(secret.target), urlsplit(secret.target).path
    api = "https://api.github.com" if place == "https://github.com" else f"{place}/api/v3"
    return _asked(egress, "GET", f"{api}/repos{path}", secret, missing=True)


def _asked(egress: Egress, method: str, url: str, secret: Secret, *, missing: bool = False) -> str:
    """One authorised request. `missing`: whether a 404 means that the credential does not see it."""
    with egress.request(
        method, url, headers={"Authorization": secret.authorization}, redirects=0, limit=_SMALL
    ) as answer:
        status = answer.status
        if 300 <= status < 400:
            raise _refused(secret, f"{shown(url)} redirects to {_aim(answer)}, as to a page to log in")
    if status in _NO or status >= 500 or (missing and status == 404):
        raise _refused(secret, f"{shown(url)} answered {status}")
    return f"{shown(url)} answered {status}."


def _aim(answer: Answer) -> str:
    return shown(answer.headers.get("Location", ""))[:200]


def _refused(secret: Secret, said: str) -> CredentialRefused:
    return CredentialRefused(
        InputProblem("", secret.scrubbed(f"the credential was tried, and {said}")),
        hint="Check it, or keep it without a trial: --no-test (over HTTP: ?test=false).",
    )
