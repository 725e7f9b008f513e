"""What counts as failed in a run of OGC's suites: everything but a known defect that is seen to be worked around."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.etsreport import DEFECTS, Case, Run, cases, failed, markdown

KNOWN = "testJobCreationInputRef"
RESULTS = """<testng-results><suite><test><class>
<test-method name="setup" status="PASS" is-config="true"/>
<test-method name="testOne" status="FAIL" description="Implements
  /req/core/http"><exception><message>
 Got 500 </message></exception></test-method>
</class></test></suite></testng-results>"""


def run(name: str, **statuses: str) -> Run:
    return Run("1", name, [Case(test, "", status, "") for test, status in statuses.items()], ())


def test_verdicts_are_read(tmp_path: Path) -> None:
    file = tmp_path / "testng-results.xml"
    file.write_text(RESULTS)
    assert cases(file) == [Case("testOne", "Implements /req/core/http", "FAIL", "Got 500")]


@pytest.mark.parametrize(
    ("runs", "lost"),
    [
        ([run("default", testOne="PASS")], []),
        ([run("default", testOne="FAIL")], ["testOne"]),
        ([run("default", testOne="SKIP")], ["testOne"]),
        ([run("default", testOne="FAIL"), run("asynchronous", testOne="PASS")], ["testOne"]),
        ([run("default", **{KNOWN: "FAIL"})], [KNOWN]),
        ([run("default", **{KNOWN: "FAIL"}), run("asynchronous", **{KNOWN: "FAIL"})], [KNOWN]),
        ([run("default", **{KNOWN: "FAIL"}), run("asynchronous", **{KNOWN: "PASS"}, testTwo="FAIL")], []),
    ],
)
def test_what_counts_as_failed(runs: list[Run], lost: list[str]) -> None:
    assert [case.name for case in failed(runs)] == lost
    total = f"{len(lost)} failed"
    assert total in markdown(runs)


def test_every_defect_is_in_the_report() -> None:
    text = markdown([run("default", testOne="PASS")])
    assert all(name in text for name in DEFECTS)
