"""What its operator says of a platform, beside what its adapter finds out: for whom, near to what, at what price."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from broker.jobs.model import Needs
from broker.jobs.secrets import origin

HOUR = 3600.0
GIB = 1024.0  # MiB


@dataclass(frozen=True, slots=True)
class Terms:
    """`near`: data that lie beside it: `https://host`, `s3://bucket`, or the beginning of such addresses.
    `projects`: for whom it is; empty: for everybody. `slots`: jobs at one time, where that is less than it offers
    itself. `requests`: a second that it may be sent; None: as many as come. `calls`: at one time, of each worker.
    `core_hour`, `gib_hour` (of memory), `job`: prices in `currency`. Raises ValueError for what cannot be.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # where they are read from broker.toml

    title: str = ""
    near: tuple[str, ...] = ()
    data_types: tuple[str, ...] = ()
    projects: tuple[str, ...] = ()
    slots: int | None = None
    requests: float | None = None
    calls: int = 3
    core_hour: float = 0.0
    gib_hour: float = 0.0
    job: float = 0.0
    currency: str = "credits"

    def __post_init__(self) -> None:
        for name in ("core_hour", "gib_hour", "job"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} is a price, 0 or more")
        if self.calls < 1 or (self.slots is not None and self.slots < 0):
            raise ValueError("calls is 1 or more, slots 0 or more")
        if self.requests is not None and not 0 < self.requests < float("inf"):
            raise ValueError("requests is a number a second, more than 0")

    def to_json(self) -> dict[str, Any]:
        """Without what is as it is anyway."""
        found = {one.name: getattr(self, one.name) for one in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()
            if value != getattr(NO_TERMS, name)
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Terms:
        given: dict[str, Any] = {name: tuple(one) if isinstance(one, list) else one for name, one in value.items()}
        return cls(**given)

    def serves(self, project: str) -> bool:
        """Whether jobs of a project may run there."""
        return not self.projects or project in self.projects

    @property
    def priced(self) -> bool:
        return bool(self.core_hour or self.gib_hour or self.job)

    def costs(self, cores: float, ram_mib: float, seconds: float) -> float:
        """What a job costs that holds so much for so long, in `currency`."""
        hours = seconds / HOUR
        return self.job + hours * (cores * self.core_hour + ram_mib / GIB * self.gib_hour)

    def hour(self, needs: Needs) -> float:
        """What a job with these needs costs in an hour: platforms are compared by it."""
        return self.costs(needs.cores, needs.ram_mib, HOUR)

    def beside(self, urls: Iterable[str]) -> int:
        """How many of these addresses lie near it."""
        return sum(any(_within(url, place) for place in self.near) for url in urls)


NO_TERMS = Terms()


def _within(url: str, place: str) -> bool:
    """Whether an address is at a place or below it: of the same origin (or bucket), then by whole parts of the path."""
    place = place.rstrip("/")
    if place.startswith(("http:", "https:")) and place.count("/") == 2:
        return origin(url) == origin(place)
    return url == place or url.startswith((f"{place}/", f"{place}?"))
