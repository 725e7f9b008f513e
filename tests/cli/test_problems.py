"""Problem documents become the exceptions that the server raised, and the other way round."""

from __future__ import annotations

import pytest

from broker import errors
from broker.api import problems as served
from broker.cli import problems
from broker.errors import BrokerError, InputProblem

RAISED = [
    (errors.PackageError("Bad.", file="a.cwl", line=3, column=4, hint="Mend it."), 1),
    (errors.UnsupportedPackage("Not here.", file="a.cwl"), 33),
    (errors.WorkflowNotFound("No x."), 1),
    (errors.UnsupportedMediaType("No."), 1),
    (errors.InputError(InputProblem("/inputs/a", "is wrong"), InputProblem("/inputs/b", "too"), hint="H"), 1),
    (errors.InvalidParameter(InputProblem("?limit", "is wrong")), 2),
    (errors.NoSuchProcess("No p."), 1),
    (errors.NoSuchJob("No j."), 1),
    (errors.NoSuchFile("No f."), 1),
    (errors.ResultNotReady("Wait."), 1),
    (errors.DuplicatedProcess("There."), 1),
    (errors.ImmutableProcess("Fixed."), 1),
    (errors.IdempotencyConflict("Used."), 1),
    (errors.UploadConflict("Moved."), 1),
    (errors.Unauthenticated("Who?", hint="broker token create NAME"), 1),
    (errors.Forbidden("No."), 1),
    (errors.LimitError("Large."), 1),
    (errors.NoRoom("Larger."), 1),
    (errors.QuotaExceeded("Much."), 1),
    (errors.PlatformUnavailable("Away."), 1),
    (errors.PlatformRefused("No.", fault_of="package", code="no-platform"), 1),
    (errors.StorageFull("Full."), 1),
    (errors.JobFailed("It failed.", failed_fault="package", failed_reason="tool-failed"), 1),
    (BrokerError("Bug."), 1),
]


@pytest.mark.parametrize(("raised", "code"), RAISED, ids=lambda value: getattr(value, "reason", ""))
def test_what_the_api_writes_is_read_as_what_was_raised(raised: BrokerError, code: int) -> None:
    document = served.document(raised)
    found = problems.read(document["status"], document)
    assert type(found) is type(raised)
    assert str(found) == str(raised)
    assert vars(found) == vars(raised)
    assert problems.exit_code(found) == code
    assert problems.write(found) == document


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, errors.InputError), (401, errors.Unauthenticated), (404, errors.Missing), (503, errors.PlatformUnavailable),
     (500, BrokerError), (418, BrokerError)],
)  # fmt: skip
def test_answers_of_others_are_read_by_their_status(status: int, kind: type[BrokerError]) -> None:
    found = problems.read(status, {"title": "Oh"})
    assert type(found) is kind
    assert "Oh" in str(found)


def test_our_own_errors_are_written_with_place_and_pointers() -> None:
    document = problems.write(errors.PackageError("Bad.", file="a.cwl", line=3))
    assert document["place"] == {"file": "a.cwl", "line": 3}
    document = problems.write(errors.InputError(InputProblem("/inputs/a", "is wrong")))
    assert document["errors"] == [{"pointer": "/inputs/a", "detail": "is wrong"}]
    assert problems.read(400, document).fault == "input"
