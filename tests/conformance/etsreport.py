"""Verdicts of the executable test suites of OGC, what is known to be wrong with the suites, and the report."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """One test method: `status` is PASS, FAIL or SKIP."""

    name: str
    requirement: str
    status: str
    message: str


@dataclass(frozen=True)
class Run:
    """One run of a suite. `missed`: what it asked the Internet for in vain."""

    part: str
    name: str
    cases: Sequence[Case]
    missed: Sequence[str]

    def status(self, name: str) -> str | None:
        return next((case.status for case in self.cases if case.name == name), None)


@dataclass(frozen=True)
class Defect:
    """Why a test of a suite cannot pass, and what is done about it. `seen_in`: the run in which it has to pass."""

    what: str
    switch: str
    seen_in: str | None = None


ISSUE_54 = (
    "Wants the body of a 200 to fit exactly one of `results`, `object`, `string` (three times): no object and no "
    "string can (ets-ogcapi-processes10#54; other tests of the suite overlook it, these two do not)."
)
DEFECTS: Mapping[str, Defect] = {
    "testJobCreationInputRef": Defect(ISSUE_54, "`BROKER_API__SYNC_SECONDS=0`: the answer is a 201", "asynchronous"),
    "testJobCreationInputValidation": Defect(
        ISSUE_54, "`BROKER_API__SYNC_SECONDS=0`: the answer is a 201", "asynchronous"
    ),
    "testOGCProcessDescriptionOutputDefinitionOfMixedType": Defect(
        "Skipped where the echo process has no output of mixed type; the one that is built in has none.",
        "`echoprocessid=mixed`, a process that has one, and `testallprocesses=off`",
        "asynchronous",
    ),
}
SWITCHES = """- `testJobResultsSync` cannot pass where a synchronous answer has a `Link` header: it cannot read the
  quotes of `rel="monitor"`, and asks for `<url>` with the angle brackets. Switch: `BROKER_API__MONITOR_LINK=false`.
- Problems have to be called `application/json`, not `application/problem+json` (#14). No switch: whoever accepts
  nothing but `application/json` gets them so.
- The Docker test of part 2 reads its request from a fixed path below `/root`. Switch: the run takes place in a mount
  namespace with that file.
"""


def cases(results: Path) -> list[Case]:
    """The test methods in a testng-results.xml."""
    found = []
    for method in ElementTree.parse(results).iter("test-method"):
        if method.get("is-config") == "true":
            continue
        message = method.findtext(".//message") or ""
        text = " ".join((method.get("description") or "").split())
        found.append(Case(method.get("name", ""), text, method.get("status", ""), " ".join(message.split())[:200]))
    return sorted(found, key=lambda case: (case.requirement, case.name))


def failed(runs: Sequence[Run]) -> Iterator[Case]:
    """What counts as failed: in a run of record, and not seen to pass where a known defect is worked around."""
    for run in runs:
        if run.name != "default":
            continue
        for case in run.cases:
            if case.status != "PASS" and not _worked_around(runs, run.part, case):
                yield case


def _worked_around(runs: Sequence[Run], part: str, case: Case) -> bool:
    defect = DEFECTS.get(case.name)
    other = [run for run in runs if defect and run.part == part and run.name == defect.seen_in]
    return any(run.status(case.name) == "PASS" for run in other)


def markdown(runs: Sequence[Run], versions: str = "") -> str:
    """The report. `versions`: which versions of the suites ran."""
    lines = [
        "# OGC executable test suites",
        "",
        f"Run on {datetime.now(UTC):%Y-%m-%d} against a broker that was started for it (`make conformance`).",
        *([f"Suites: {versions}"] if versions else []),
        "",
    ]
    bad = list(failed(runs))
    for part in sorted({run.part for run in runs}):
        record = next(run for run in runs if run.part == part and run.name == "default")
        direct = sum(case.status == "PASS" for case in record.cases)
        around = sum(case.status != "PASS" and case not in bad for case in record.cases)
        lost = sum(case in bad for case in record.cases)
        lines += [
            f"**Part {part}: {len(record.cases)} tests, {direct} passed, "
            f"{around} passed with a known defect of the suite worked around, {lost} failed.**",
            "",
        ]
    lines += ["## Known defects of the suites", "", "| test | defect | switch |", "|---|---|---|"]
    lines += [f"| `{name}` | {defect.what} | {defect.switch} |" for name, defect in DEFECTS.items()]
    lines += ["", SWITCHES]
    for run in runs:
        lines += [f"## Part {run.part}, run `{run.name}`", "", "| test | of | verdict |", "|---|---|---|"]
        for case in run.cases:
            note = f": {case.message}" if case.status != "PASS" else ""
            lines.append(f"| `{case.name}` | {case.requirement} | {case.status}{note} |".replace("\n", " "))
        if run.missed:
            lines += ["", "Asked for on the Internet, and not there: " + ", ".join(run.missed)]
        lines.append("")
    return "\n".join(lines)
