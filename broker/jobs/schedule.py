"""Which accepted job goes next, and whether it may go now: pure decisions over a platform's rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from broker.jobs.model import Capabilities, Needs


@dataclass(frozen=True, slots=True)
class Waiting:
    """The oldest waiting job of one owner at one priority."""

    job_id: str
    owner: str
    priority: int
    created: float
    needs: Needs


@dataclass(frozen=True, slots=True)
class Load:
    """What active jobs hold of a platform now."""

    jobs: int = 0
    cores: float = 0.0
    ram_mib: int = 0


def order(waiting: Iterable[Waiting], active_by_owner: Mapping[str, int]) -> list[Waiting]:
    """Fair order: higher priority first, then the owner with the fewest active jobs, then the oldest job."""
    return sorted(waiting, key=lambda w: (-w.priority, active_by_owner.get(w.owner, 0), w.created, w.job_id))


def short_of(needs: Needs, load: Load, offer: Capabilities) -> str | None:
    """What a job waits for on a platform, as the end of "waiting for ..."; None when it may start now.

    A job larger than the whole platform is not admitted at all (`placement.too_small`), so waiting always ends.
    """
    if offer.slots is not None and load.jobs >= offer.slots:
        return f"one of {offer.slots} slots"
    if load.cores + needs.cores > offer.cores:
        return f"{needs.cores:g} of {offer.cores:g} cores"
    if load.ram_mib + needs.ram_mib > offer.ram_mib:
        return f"{needs.ram_mib} of {offer.ram_mib} MiB of memory"
    return None
