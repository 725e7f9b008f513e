"""The notations of PROV without their cost to who serves them: large records, and RDF, are written by a child.

    python -I -m broker.results.notations NOTATION < record.json

rdflib alone takes 30 MB and half a second; 5000 steps take 10 s and 400 MB as RDF.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from broker.errors import LimitError

RDF = ("jsonld", "ttl", "nt")
MOST_STEPS = 300  # of a record that is written in this process: some 0.1 s
SECONDS = 120.0


def written(record: Mapping[str, Any], notation: str) -> bytes:
    """The record in a notation (see `broker.results.prov`). Raises LimitError for one that takes too long."""
    if notation not in RDF and len(record["steps"]) <= MOST_STEPS:
        return here(record, notation)
    command = [sys.executable, "-I", "-W", "ignore", "-m", "broker.results.notations", notation]
    try:
        done = subprocess.run(
            command, input=json.dumps(record).encode(), capture_output=True, check=True, timeout=SECONDS, env={}
        )
    except subprocess.TimeoutExpired:
        raise LimitError(
            "The record is too large for this notation.", hint="Ask for the broker's own: ?f=record."
        ) from None
    return done.stdout


def here(record: Mapping[str, Any], notation: str) -> bytes:
    """The same in this process. `prov` is imported once somebody asks: nobody else pays for it."""
    made: bytes = import_module("broker.results.prov").written(record, notation)
    return made


def main(arguments: Sequence[str]) -> int:
    sys.stdout.buffer.write(here(json.load(sys.stdin), arguments[0]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
