"""Which test shows which requirement of the claimed conformance classes: `python -m tests.conformance.requirements`.

Writes docs/conformance.md; with --check writes nothing, and ends with 1 where a claimed class has a requirement
without a test, a test names no requirement, or the file is not what would be written.
"""

from __future__ import annotations

import ast
import csv
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from broker.api.app import CLASSES

ROOT = Path(__file__).parent.parent.parent
TABLE = ROOT / "tests" / "data" / "ogcapi" / "requirements.tsv"
TESTS = ROOT / "tests" / "conformance" / "ogc"
PAGE = ROOT / "docs" / "conformance.md"
PARTS = {"part1-1.0 (18-062r2, as published)": "ogcapi-processes-1/1.0", "part2-draft": "ogcapi-processes-2/1.0"}
CLASS = re.compile(r"http://www\.opengis\.net/spec/(ogcapi-processes-\d/[\d.]+)/conf/([\w-]+)")


@dataclass(frozen=True)
class Requirement:
    """One row of requirements.tsv; its test is named after the id."""

    part: str
    id: str
    text: str

    @property
    def name(self) -> str:
        return "test" + re.sub(r"[^a-z0-9]+", "_", self.id.lower())

    @property
    def of(self) -> tuple[str, str]:
        return self.part, self.id.split("/")[2]


def requirements() -> list[Requirement]:
    """Of the parts that we implement; a few ids are in the table twice."""
    with TABLE.open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if row and row[0] in PARTS]
    known = {row[1].lower(): Requirement(PARTS[row[0]], row[1], row[2]) for row in rows if row[1].startswith("/req/")}
    return list(known.values())


def claimed() -> list[tuple[str, str]]:
    """(part, class) of the URIs that /conformance shows."""
    found = (CLASS.fullmatch(uri) for part in CLASSES for uri in part.uris)
    return sorted(match.groups() for match in found if match is not None)  # type: ignore[misc]


def tests() -> dict[str, str]:
    """Name -> file of the tests of requirements that always run."""
    return {name: file.name for file in sorted(TESTS.glob("test_*.py")) for name in _names(file)}


def _names(file: Path) -> Iterator[str]:
    for node in ast.parse(file.read_text("utf-8")).body:
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_req_"):
            continue
        marks = " ".join(ast.unparse(one) for one in node.decorator_list)
        if "skip" not in marks and "xfail" not in marks:
            yield node.name


def problems(known: Sequence[Requirement], have: Mapping[str, str]) -> list[str]:
    classes = claimed()
    found = [f"{one.id} has no test {one.name}" for one in known if one.of in classes and one.name not in have]
    names = {one.name for one in known}
    found += [f"{name} ({file}) is named after no requirement" for name, file in have.items() if name not in names]
    found += [f"no requirements are known of {one}" for one in classes if one not in {each.of for each in known}]
    return found


def page(known: Sequence[Requirement], have: Mapping[str, str]) -> str:
    lines = [
        "# Conformance",
        "",
        "Made by `make docs-conformance`. `make check` fails where a requirement of a class that `/conformance` shows",
        "has no test. The tests are in `tests/conformance/ogc`; `make test` runs them against a live broker.",
        "What OGC's own test suites say is in [conformance-ets.md](conformance-ets.md).",
        "",
    ]
    for part, name in claimed():
        lines += [f"## {part}/conf/{name}", "", "| requirement | test |", "|---|---|"]
        for one in known:
            if one.of == (part, name):
                lines.append(f"| `{one.id}` | [{one.name}](../tests/conformance/ogc/{have.get(one.name, '')}) |")
        lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    known, have = requirements(), tests()
    wrong = problems(known, have)
    text = page(known, have)
    if "--check" not in arguments:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != text:
        wrong.append(f"{PAGE.relative_to(ROOT)} is not up to date: make docs-conformance")
    print("\n".join(wrong) or f"{sum(one.of in claimed() for one in known)} requirements, each has a test")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
