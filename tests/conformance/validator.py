"""Our rules beside the catalog's own validator: `make catalog-validator VALIDATOR=<checkout> CATALOG=<clone>`

VALIDATOR is ESA-EarthCODE/open-science-catalog-validation after `npm install` there (with stac-js 0.1.9 pinned: later
ones have no `isCatalogLike`, which it calls). Both judge the whole catalog with a publication of ours in it, and that
again with one fault at a time (tests/unit/results/faultyrecords.py). --schemas DIR holds copies of
https://schemas.stacspec.org/ (`stac/`), https://stac-extensions.github.io/ (`extensions/`) and
https://geojson.org/schema/ (`geojson/`) for machines without the Internet. Writes a report with --report; ends with 1
where the two differ and nobody has said why.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from broker.results.catalogplan import plan
from broker.results.rules import check
from broker.results.strictrules import check_strictly
from broker.results.tree import Files, Folder
from tests.unit.results.faultyrecords import FAULTS, faulty
from tests.unit.results.samples import a_request, published

Faults = set[tuple[str, str]]  # (file, what is wrong)
STRICTER = {
    "STAC version": "The validator brings documents to the newest version before it looks; later readers may not.",
    "out of place": "The validator looks at the files it knows; one in no known place is found by nobody.",
}
_FILE = re.compile(r"\s*(\S+\.json)\Z")
_WRONG = re.compile(r"\s+\d+\. (.+)")
_MISSING = re.compile(r"Schema at '(\S+)' not found")


class Validator:
    """The catalog's validator. `missing`: the schemas that it could not get, which it says of each file."""

    def __init__(self, checkout: Path, schemas: Path | None, folder: Path) -> None:
        self.checkout = checkout.resolve()
        self.config, self.said = folder / "config.js", folder / "said.txt"
        self.missing: set[str] = set()
        own = f"{self.checkout / 'schemas'}/"
        address = "https://testing.earthcode.eox.at/schemas/"
        here = {address: own}
        if schemas is not None:
            places = {"schemas.stacspec.org/": "stac", "stac-extensions.github.io/": "extensions"}
            places["geojson.org/schema/"] = "geojson"
            here |= {f"https://{name}": f"{(schemas / place).resolve()}/" for name, place in places.items()}
        custom = str(self.checkout / "validate.js")
        settings = {"lint": False, "custom": custom, "schemaMap": here, "SCHEMA_URL": address}
        self.config.write_text(f"module.exports = {json.dumps(settings)};\n")

    def faults(self, catalog: Path) -> Faults:
        """What it finds wrong, but for schemas that it could not get."""
        program = self.checkout / "node_modules" / ".bin" / "stac-node-validator"
        command = [str(program), "--config", str(self.config), str(catalog)]
        with self.said.open("w") as file_of_words:  # into a pipe it does not write all before it exits
            subprocess.run(command, cwd=self.checkout, stdout=file_of_words, stderr=subprocess.STDOUT, timeout=300)
        words = self.said.read_text()
        found: Faults = set()
        file = ""
        for line in words.splitlines():
            if (at := _FILE.match(line)) and at[1].startswith(str(catalog)):
                file = at[1].removeprefix(f"{catalog}/")
            elif wrong := _WRONG.match(line):
                if missing := _MISSING.search(wrong[1]):
                    self.missing.add(missing[1])
                else:
                    found.add((file, wrong[1].replace(f"{catalog}/", "")))
        if "Summary" not in words:
            raise SystemExit(f"The validator did not end well:\n{words[-2000:]}")
        return found


def ours(files: Mapping[str, bytes]) -> Faults:
    """What we find that we think the validator refuses too."""
    tree = Files(files)
    found = [*check(tree, list(tree.paths()), whole=True), *check_strictly(tree, tree.paths())]
    return {(one.path, one.message) for one in found if one.official}


def written(files: Mapping[str, bytes], catalog: Path, before: Mapping[str, bytes]) -> None:
    """Make the catalog on disk these files; `before`: what it is."""
    for path in before.keys() - files.keys():
        (catalog / path).unlink()
    for path, content in files.items():
        if before.get(path) != content:
            (catalog / path).parent.mkdir(parents=True, exist_ok=True)
            (catalog / path).write_bytes(content)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("validator", type=Path)
    parser.add_argument("catalog", type=Path)
    parser.add_argument("--schemas", type=Path)
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    clean = Folder(options.catalog)
    real = {path: clean.read(path) or b"" for path in clean.paths()}
    whole = real | dict(plan(Files(real), a_request(doi="10.5281/zenodo.1234"), published()).files)
    lines, unexplained = [], 0
    with tempfile.TemporaryDirectory() as place:
        validator = Validator(options.validator, options.schemas, Path(place))
        catalog = Path(place, "catalog")
        written(whole, catalog, {})
        base, own = validator.faults(catalog), ours(whole)
        same = 0
        for fault in FAULTS:
            files = faulty(fault, whole)
            written(files, catalog, whole)
            theirs, we = validator.faults(catalog) - base, ours(files) - own
            written(whole, catalog, files)
            if bool(theirs) == bool(we):
                same += 1
                continue
            unexplained += fault.name not in STRICTER
            who = "only the validator" if theirs else "only we"
            lines.append(f"| {fault.name} | {who} | {STRICTER.get(fault.name, 'Nobody has said why.')} |")
            print(fault.name, who, sorted(theirs or we)[:2], file=sys.stderr)
        commit = subprocess.run(
            ["git", "-C", str(options.catalog), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
        ).stdout.strip()
        told = [
            "# Our rules and the catalog's own validator",
            "",
            f"Made by `make catalog-validator` on {datetime.now(UTC):%Y-%m-%d}; the catalog"
            + (f" at {commit}" if commit else "")
            + f" with a publication of ours, {sum(path.endswith('.json') for path in whole)} JSON files.",
            "",
            f"- Without a fault: the validator finds {len(base)}, we find {len(own)}.",
            f"- With one fault at a time: the same verdict in {same} of {len(FAULTS)}.",
            *[f"- A schema that the validator could not get here: {one}" for one in sorted(validator.missing)],
            "",
            "| fault | refused by | why |",
            "|---|---|---|",
            *lines,
            "",
            "What we refuse beyond that (an empty or unreadable input.yaml, links that lead nowhere ...) is marked as",
            "ours in each finding, and is not counted here.",
            "",
        ]
    text = "\n".join(told)
    print(text)
    if options.report is not None:
        options.report.write_text(text)
    return 1 if unexplained or base or own else 0


if __name__ == "__main__":
    raise SystemExit(main())
