"""What a publication in the catalog is made from, beside the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from broker.results.osc import HOME, entry_path


@dataclass(frozen=True, slots=True)
class Published:
    """The runs, or the process alone, or neither (data that lies elsewhere).

    `id` names the publication; `moment`: when it was asked for (RFC 3339, UTC), which the records say. `runs`: records
    of provenance of successful jobs of one process; `process`: like the `process` of such a record. `package`: what
    can be run, packed in one file, with `package_href`, an address that never leads to anything else (a commit, an
    item of the PRR); without one, the file is put beside the workflow; `entry`: what of it ran (`Bundle.entry`).
    `places`: job -> path of an input or output -> the address it has now. `crates`: job -> address of its run crate.
    `broker`: address of this broker, if others can reach it.
    """

    id: str
    moment: str
    runs: Sequence[Mapping[str, Any]] = ()
    process: Mapping[str, Any] | None = None
    package: bytes | None = field(default=None, repr=False)
    package_href: str | None = None
    entry: str | None = None
    places: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    crates: Mapping[str, str] = field(default_factory=dict)
    broker: str | None = None

    @property
    def subject(self) -> Mapping[str, Any] | None:
        """The process."""
        return self.process or (self.runs[0]["process"] if self.runs else None)

    @property
    def possible(self) -> tuple[str, ...]:
        """The kinds of records that can be made."""
        if self.runs:
            return ("workflow", "experiment", "product")
        return ("workflow",) if self.process else ("product",)


def run_again_link(broker: str, experiment: str) -> str:
    """The address that opens a broker with an experiment of the catalog filled in."""
    asked = urlencode({"experiment": HOME + entry_path("experiments", experiment)})
    return f"{broker.rstrip('/')}/reproductions/new?{asked}"


def process_link(broker: str, process: str) -> str:
    return f"{broker.rstrip('/')}/processes/{quote(process, safe='')}"
