"""Errors as RFC 7807 problem documents: the one table from error class to HTTP status and exception type."""

from __future__ import annotations

import http
import logging
import math
import uuid
from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from broker import errors
from broker.api.answers import JSON, prefers_html
from broker.errors import BrokerError, InputError, InputProblem, InvalidParameter, JobFailed, PackageError
from broker.web import problem_page

PART1 = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
PART2 = "http://www.opengis.net/def/exceptions/ogcapi-processes-2/1.0/"
OURS = "urn:earthcode-broker:problem:"
MEDIA_TYPE = "application/problem+json"
# an answer is no longer because a request was: problems, and characters of what is told of each
MOST_TOLD, LONGEST_TOLD, LONGEST_POINTER = 100, 4000, 300
_log = logging.getLogger(__name__)


class NotJson(InputError):
    """The body is not a JSON document in UTF-8."""

    reason = "not-json"


class WrongMediaType(InputError):
    """The body of this request has another media type."""

    reason = "unsupported-media-type"


class BodyTooLarge(errors.LimitError):
    """More bytes than this resource takes."""

    reason = "body-too-large"


class BodyTooLate(errors.LimitError):
    """A document that takes too long to arrive."""

    reason = "body-too-late"


class RangeNotSatisfiable(InputError):
    """No byte of the file is in the range; `size` of the file in bytes."""

    reason = "range-not-satisfiable"

    def __init__(self, size: int) -> None:
        super().__init__(InputProblem("", f"the file has {size} bytes, and none of them is in this range"))
        self.size = size


# The nearest class in an error's own line of ancestors counts. (status, type, title)
TABLE: Mapping[type[BrokerError], tuple[int, str, str]] = {
    PackageError: (400, OURS + "invalid-package", "The package cannot be run"),
    errors.UnsupportedPackage: (422, OURS + "unsupported-requirement", "The package asks for what is not here"),
    errors.UnsupportedMediaType: (415, PART2 + "unsupported-media-type", "Unsupported media type"),
    errors.WorkflowNotFound: (400, PART2 + "workflow-not-found", "No such workflow in the package"),
    InputError: (400, OURS + "invalid-input", "The inputs do not fit"),
    InvalidParameter: (400, OURS + "invalid-parameter", "A parameter is not usable"),
    errors.CredentialRefused: (422, OURS + "credential-refused", "The credential is not taken"),
    NotJson: (400, OURS + "not-json", "The body is not JSON"),
    WrongMediaType: (415, PART2 + "unsupported-media-type", "Unsupported media type"),
    RangeNotSatisfiable: (416, OURS + "range-not-satisfiable", "Range not satisfiable"),
    errors.Missing: (404, "about:blank", "Not found"),
    errors.NoSuchProcess: (404, PART1 + "no-such-process", "No such process"),
    errors.NoSuchJob: (404, PART1 + "no-such-job", "No such job"),
    errors.NoSuchOutput: (404, PART1 + "no-such-output", "No such output"),
    errors.NoSuchUpload: (404, OURS + "no-such-upload", "No such upload"),
    errors.NoSuchFile: (404, OURS + "no-such-file", "No such file"),
    errors.NoSuchPlatform: (404, OURS + "no-such-platform", "No such platform"),
    errors.NoSuchCredential: (404, OURS + "no-such-credential", "No such credential"),
    errors.NoSuchProject: (404, OURS + "no-such-project", "No such project"),
    errors.NoSuchInvitation: (404, OURS + "no-such-invitation", "No such invitation"),
    errors.NoSuchComparison: (404, OURS + "no-such-comparison", "No such comparison"),
    errors.NoSuchPublication: (404, OURS + "no-such-publication", "No such publication"),
    errors.ResultNotReady: (404, PART1 + "result-not-ready", "The results are not ready"),
    errors.ResultsGone: (410, OURS + "results-gone", "The results were deleted"),
    errors.Conflict: (409, OURS + "conflict", "Conflict"),
    errors.DuplicatedProcess: (409, PART2 + "duplicated-process", "The process exists"),
    errors.ImmutableProcess: (403, PART2 + "immutable-process", "The process cannot be changed"),
    errors.IdempotencyConflict: (422, OURS + "idempotency-key-reused", "Idempotency-Key used for another request"),
    errors.UploadConflict: (409, OURS + "upload-conflict", "The upload has moved on"),
    errors.Held: (409, OURS + "held", "Something still needs it"),
    errors.ProjectConflict: (409, OURS + "project-conflict", "The project stands against it"),
    errors.WrongPhase: (409, OURS + "wrong-phase", "The job has already ended"),
    errors.AccessError: (403, OURS + "access", "Not allowed"),
    errors.Unauthenticated: (401, OURS + "unauthenticated", "Authentication is needed"),
    errors.Forbidden: (403, OURS + "forbidden", "Not allowed"),
    errors.IssuerSilent: (503, OURS + "issuer-silent", "The login service does not answer now"),
    errors.LimitError: (413, OURS + "too-large", "Larger than the limits here"),
    errors.NoRoom: (422, OURS + "needs-too-much", "No platform is large enough"),
    BodyTooLate: (408, OURS + "body-too-late", "The body came too slowly"),
    BodyTooLarge: (413, OURS + "body-too-large", "The body is too large"),
    errors.QuotaExceeded: (429, OURS + "quota-exceeded", "Over quota"),
    errors.TooManyRequests: (429, OURS + "too-many-requests", "Too many requests"),
    errors.EgressRefused: (400, OURS + "address-refused", "The broker may not call this address"),
    errors.StagingError: (400, OURS + "staging-failed", "A link could not be fetched"),
    errors.TargetError: (502, OURS + "target-error", "The target of a publication failed"),
    errors.TargetUnavailable: (503, OURS + "target-unavailable", "The target does not answer now"),
    errors.TargetRefused: (422, OURS + "target-refused", "The target does not take this"),
    errors.PlatformError: (502, OURS + "platform-error", "The platform failed"),
    errors.PlatformUnavailable: (503, OURS + "platform-unavailable", "No platform answers now"),
    errors.PlatformRefused: (422, OURS + "platform-refused", "No platform can run this"),
    errors.StorageError: (503, OURS + "storage-unavailable", "Storage does not answer now"),
    errors.StorageFull: (507, OURS + "storage-full", "Storage is full"),
    JobFailed: (500, OURS + "job-failed", "The job has no results"),
    errors.SetupError: (503, OURS + "setup", "The installation is not usable"),
    BrokerError: (500, OURS + "broker-error", "The broker failed"),
}
FAILED_STATUS = {"package": 422, "input": 400, "staging": 424, "platform": 502, "limit": 422, "broker": 500}
DISMISSED_STATUS = 410


def row_of(kind: type[BrokerError]) -> tuple[int, str, str]:
    """The row of the table that counts for an error class."""
    return next(TABLE[ancestor] for ancestor in kind.__mro__ if ancestor in TABLE)


def document(error: BrokerError, **members: Any) -> dict[str, Any]:
    """The problem document of an error; `members` are added."""
    status, kind, title = row_of(type(error))
    fault, reason = error.fault, error.reason
    if isinstance(error, JobFailed):
        dismissed = error.failed_reason == "dismissed"
        status = DISMISSED_STATUS if dismissed else FAILED_STATUS.get(error.failed_fault, 500)
        fault, reason = error.failed_fault, error.failed_reason
    elif isinstance(error, errors.PlatformRefused):
        fault, reason = error.fault_of, error.code
    full: dict[str, Any] = {
        "type": kind,
        "title": title,
        "status": status,
        "detail": error.detail[:LONGEST_TOLD],
        "fault": fault,
        "reason": reason,
    }
    if error.hint:
        full["hint"] = error.hint
    if isinstance(error, InputError):
        full["errors"] = [
            {"pointer": p.pointer[:LONGEST_POINTER], "detail": p.detail[:LONGEST_TOLD]}
            for p in error.problems[:MOST_TOLD]
        ]
    if isinstance(error, PackageError) and error.place:
        place = {"file": error.file, "line": error.line, "column": error.column}
        full["place"] = {key: value for key, value in place.items() if value is not None}
    if isinstance(error, errors.QuotaExceeded) and error.quota is not None:
        full["quota"] = dict(error.quota)
    return full | members


def answer(
    error: BrokerError, request: Request | None = None, *, headers: Mapping[str, str] | None = None, **members: Any
) -> Response:
    """The problem as a response, with the headers that its status asks for; a page when a browser asks."""
    fields = dict(headers or {})
    problem = document(error, **members)
    if isinstance(error, (errors.StorageError, errors.SetupError)):  # they name hosts, files and accounts of ours
        problem |= _for_the_log(error)
    if problem["status"] == 401:
        fields["WWW-Authenticate"] = 'Bearer realm="earthcode-broker"'
    elif problem["status"] in (429, 503):
        after = getattr(error, "retry_after", None)
        fields["Retry-After"] = str(max(1, round(after))) if after else "5"
    elif isinstance(error, errors.QuotaExceeded | errors.TooManyRequests):
        fields["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif isinstance(error, RangeNotSatisfiable):
        fields["Content-Range"] = f"bytes */{error.size}"
    return plain(problem, fields, request)


def plain(
    problem: Mapping[str, Any], headers: Mapping[str, str] | None = None, request: Request | None = None
) -> Response:
    """A problem document; for a browser the page of it."""
    if request is not None and prefers_html(request):
        return problem_page(request, problem, headers)
    return Response(orjson.dumps(problem), problem["status"], headers, _media_type(request))


def _media_type(request: Request | None) -> str:
    """A client that takes nothing but plain JSON (the test suite of OGC is one) gets the same document so named."""
    accept = "" if request is None else request.headers.get("accept", "")
    return JSON if accept.partition(";")[0].strip() == JSON else MEDIA_TYPE


async def _broker_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, BrokerError)  # noqa: S101 - registered for it
    request.state.reason = error.reason  # for the audit of what was refused
    return answer(error, request)


async def _http_error(request: Request, error: Exception) -> Response:
    """What the router says: unknown paths, wrong methods."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    if error.status_code == 404:
        return nothing_here(request)
    if error.status_code == 405:
        problem = _http(405, f"{request.method} is not possible here.", "Method not allowed", "method-not-allowed")
    else:
        problem = _http(error.status_code, str(error.detail), str(error.detail), "http")
    return plain(problem, error.headers, request)


async def _parameter_error(request: Request, error: Exception) -> Response:
    """A query, path or header parameter that FastAPI could not read."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    found = [InputProblem("?" + str(e["loc"][1] if len(e["loc"]) > 1 else ""), e["msg"]) for e in error.errors()]
    return answer(InvalidParameter(*found), request)


async def _unkeepable(request: Request, error: Exception) -> Response:
    """A text that got through every check and that the database still refuses, such as one with a NUL."""
    unkept = InputError(InputProblem("", "a text of this request holds characters that cannot be kept"))
    return answer(unkept, request)


async def _gone(request: Request, error: Exception) -> Response:
    """The client went away: nobody reads this."""
    return Response(status_code=499)


def internal(request: Request, error: Exception) -> Response:
    """A fault of ours: a reference to find it in the log by, and nothing of the inside."""
    problem = {
        "type": OURS + "internal",
        "title": "The broker failed",
        "status": 500,
        "fault": "broker",
        "reason": "broker-error",
    }
    told = _for_the_log(error, f"{request.method} {request.scope['path']!r} failed")
    return plain(problem | told, None, request)


def _for_the_log(error: Exception, what: str = "a request failed") -> dict[str, str]:
    """Log an error, and say where it is instead of what it is."""
    reference = uuid.uuid4().hex[:12]
    _log.error("%s [%s]", what, reference, exc_info=error)
    detail = f"Something went wrong inside the broker. The operator finds it in the log under {reference}."
    return {"detail": detail, "reference": reference}


def refused(status: int, detail: str) -> Response:
    """What the connection says before there is a request."""
    title = http.HTTPStatus(status).phrase
    headers = {"Retry-After": "5"} if status == 503 else None
    return plain(_http(status, detail, title, title.lower().replace(" ", "-")), headers)


def nothing_here(request: Request) -> Response:
    return plain(_http(404, "There is nothing at this path.", "Not found", "not-found"), None, request)


def _http(status: int, detail: str, title: str, reason: str) -> dict[str, Any]:
    """A problem that only HTTP knows."""
    whole = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return whole | {"fault": "input", "reason": reason}


def register(app: FastAPI) -> None:
    app.add_exception_handler(BrokerError, _broker_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _parameter_error)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(DataError, _unkeepable)
