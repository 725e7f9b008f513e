"""Compare results with what was expected: compare.py EXPECTED.json RESULTS_DIR. Exits 0 when all is as expected.

Needs the standard library only. RESULTS_DIR holds the STAC catalog (catalog.json), itself or in a directory below it.
EXPECTED.json says what must be there:

    files   path below the catalog -> {"type": media type, "sha256": optional}. Each must exist, not be empty and begin
            as its type begins; with a sha256 its bytes must be the same. No other file may be there.
    values  a list of {"file", "pointer", "is" | "length", "tolerance"}: the value at the JSON pointer of the file must
            equal `is` (numbers within `tolerance`, absolute, 0 when not given; lists item by item), or its length
            must be `length` within the tolerance.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BEGINNINGS: dict[str, tuple[bytes, ...]] = {
    "image/tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "application/json": (b"{", b"["),
    "application/geo+json": (b"{",),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the comparison: what was looked at, what it should be, what it is."""

    what: str
    expected: str
    found: str
    ok: bool


def catalog_root(results: Path) -> Path:
    """The directory of the catalog.json that lies least deep; `results` itself when there is none."""
    catalogs = sorted(results.rglob("catalog.json"), key=lambda path: (len(path.parts), path))
    return catalogs[0].parent if catalogs else results


def same(expected: Any, found: Any, tolerance: float) -> bool:
    """Equal, numbers within the tolerance. True is not 1."""
    if isinstance(expected, bool) or isinstance(found, bool):
        return expected is found
    if isinstance(expected, int | float) and isinstance(found, int | float):
        return abs(expected - found) <= tolerance
    if isinstance(expected, list) and isinstance(found, list):
        return len(expected) == len(found) and all(map(lambda a, b: same(a, b, tolerance), expected, found))
    return type(expected) is type(found) and bool(expected == found)


def at(document: Any, pointer: str) -> Any:
    """The value at a JSON pointer (RFC 6901). Raises LookupError when there is none."""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        document = document[int(key) if isinstance(document, list) else key]
    return document


def check_file(root: Path, name: str, wanted: Mapping[str, str]) -> Check:
    """That a file is there and is what its type and sha256 say."""
    media_type, digest = wanted["type"], wanted.get("sha256")
    expected = media_type.split(";")[0] + (f", sha256 {digest[:12]}…" if digest else "")
    path = root / name
    if not path.is_file():
        return Check(name, expected, "missing", False)
    content = path.read_bytes()
    if not content.startswith(BEGINNINGS[media_type.split(";")[0]]):
        return Check(name, expected, "empty" if not content else "not of this type", False)
    found = hashlib.sha256(content).hexdigest()
    if digest and found != digest:
        return Check(name, expected, f"sha256 {found[:12]}…", False)
    return Check(name, expected, f"{len(content)} bytes", True)


def check_value(root: Path, wanted: Mapping[str, Any]) -> Check:
    """That a value in a JSON file is what it should be."""
    tolerance = wanted.get("tolerance", 0)
    counted = "length" in wanted
    expected = wanted["length"] if counted else wanted["is"]
    what = f"{Path(wanted['file']).name} {wanted['pointer']}" + (" (length)" if counted else "")
    shown = json.dumps(expected) + (f" ± {tolerance:g}" if tolerance else "")
    try:
        found = at(json.loads((root / wanted["file"]).read_text(encoding="utf-8")), wanted["pointer"])
        found = len(found) if counted else found
    except (OSError, ValueError, LookupError, TypeError) as problem:
        return Check(what, shown, f"not readable: {problem!r}", False)
    return Check(what, shown, json.dumps(found), same(expected, found, tolerance))


def compare(expected: Mapping[str, Any], results: Path) -> Iterator[Check]:
    """All checks of an expected.json against a directory of results."""
    root = catalog_root(results)
    for name, wanted in expected["files"].items():
        yield check_file(root, name, wanted)
    present = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    extra = sorted(present - set(expected["files"]))
    yield Check("other files", "none", ", ".join(extra) or "none", not extra)
    for wanted in expected["values"]:
        yield check_value(root, wanted)


def table(checks: list[Check]) -> str:
    """The checks in columns, one line each."""
    rows = [("", "what", "expected", "found")]
    rows += [("ok" if check.ok else "NO", check.what, check.expected, check.found) for check in checks]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    )


def main(expected: Path, results: Path) -> int:
    """Print the table; 0 when every check holds."""
    checks = list(compare(json.loads(expected.read_text(encoding="utf-8")), results))
    failed = sum(not check.ok for check in checks)
    print(table(checks))
    print(f"{len(checks) - failed} of {len(checks)} checks hold." + (f" {failed} do not." if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
