"""STAC items, collections and catalogs without what changes with every run; and plain JSON as it is.

numbers: compared, unequal, outsideTolerance, maximumDifference (of single values).
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from broker.results.compare_values import Values
from broker.results.verdict import Judgement, Tolerance, Verdict, shared

MOST = 256 * 2**20  # bytes of one document
VOLATILE = frozenset({"created", "updated", "processing:datetime", "timeStamp"})
OF_FILES = frozenset({"file:checksum", "file:size", "checksum:multihash"})  # each file has a verdict of its own
_PLACES = frozenset({"geometry", "bbox", "extent", "proj:bbox", "proj:geometry", "proj:centroid"})
_OWN = frozenset({"self", "alternate"})  # links that say where the document lies


def compare(left: Path, right: Path, tolerance: Tolerance) -> Judgement:
    """Two STAC documents. Raises OSError, or ValueError for what is not JSON."""
    one, other = document(left), document(right)
    values = Values(tolerance)
    _compare(_steady(one), _steady(other), values)
    notes = ["not compared: created, updated, where files and documents lie, checksums and sizes of files"]
    return judged(values, notes, "The documents say the same, but for what changes with every run.")


def compare_json(left: Path, right: Path, tolerance: Tolerance) -> Judgement:
    """Two JSON documents. Raises OSError, or ValueError for what is not JSON."""
    values = Values(tolerance)
    values.compare(document(left), document(right), "")
    return judged(values, [], "The documents say the same; only how they are written differs.")


def document(path: Path) -> Any:
    if path.stat().st_size > MOST:
        raise ValueError(f"it is larger than the {MOST // 2**20} MiB of JSON that are compared")
    try:
        return json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def is_stac(value: Any) -> bool:
    return isinstance(value, Mapping) and "stac_version" in value


def judged(values: Values, notes: list[str], same: str) -> Judgement:
    if not values.unequal:
        return Judgement(Verdict.EQUIVALENT, same, values.to_json(), tuple(notes))
    verdict = Verdict.EQUIVALENT if values.fits else Verdict.DIFFERENT
    if not values.outside:
        sentence = f"All values agree within the tolerance; the largest difference is {values.largest:g}."
    else:
        end = ", within the share that may" if values.fits else f": {values.told[0]}"
        sentence = f"{shared(values.outside, values.compared, 'values')} differ{end}."
    return Judgement(verdict, sentence, values.to_json(), (*values.told, *notes))


def _compare(left: Any, right: Any, values: Values) -> None:
    if not isinstance(left, Mapping) or not isinstance(right, Mapping):
        values.compare(left, right, "")
        return
    for part in (_PLACES, None):  # places first, then the rest
        one, other = (
            {key: value for key, value in side.items() if (key in _PLACES) == (part is not None)}
            for side in (left, right)
        )
        values.compare(one, other, "", coordinates=part is not None)


def _steady(value: Any) -> Any:
    """The document without what changes with every run."""
    if not isinstance(value, Mapping):
        return value
    found = {key: one for key, one in value.items() if key not in VOLATILE}
    if isinstance(value.get("properties"), Mapping):
        found["properties"] = {key: one for key, one in value["properties"].items() if key not in VOLATILE}
    if isinstance(value.get("links"), list):
        links = [_link(one) for one in value["links"] if not (isinstance(one, Mapping) and one.get("rel") in _OWN)]
        found["links"] = sorted(links, key=lambda link: json.dumps(link, sort_keys=True))
    if isinstance(value.get("assets"), Mapping):
        found["assets"] = {key: _link(one) for key, one in value["assets"].items()}
    if isinstance(value.get("features"), list):
        found["features"] = [_steady(one) for one in value["features"]]
    return found


def _link(value: Any) -> Any:
    """With only the last part of where it leads to, and nothing that the file itself says."""
    if not isinstance(value, Mapping):
        return value
    found = {key: one for key, one in value.items() if key not in VOLATILE | OF_FILES}
    if isinstance(value.get("href"), str):
        try:
            found["href"] = posixpath.basename(unquote(urlsplit(value["href"]).path).rstrip("/"))
        except ValueError:
            found["href"] = value["href"]
    return found
