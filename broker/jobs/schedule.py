"""Which accepted job goes next, and whether it may go now: pure decisions over a platform's rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from broker.jobs.model import Capabilities, Needs


@dataclass(frozen=True, slots=True)
class Waiting:
    """The oldest waiting job of one owner in one project at one priority."""

    job_id: str
    owner: str
    project: str
    priority: int
    created: float
    needs: Needs
    delegate: str | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What active jobs hold of a platform now."""

    jobs: int = 0
    cores: float = 0.0
    ram_mib: int = 0


def order(
    waiting: Iterable[Waiting], active_by_owner: Mapping[str, int], active_by_project: Mapping[str, int]
) -> list[Waiting]:
    """Fair order: higher priority first, then who has the fewest active jobs, then the oldest job.

    Who: the owner or the project, whichever has more. So neither an owner with many projects nor a project with
    many owners gets more than others; within a project the owner with the fewest goes first.
    """

    def rank(w: Waiting) -> tuple[int, int, int, float, str]:
        own, shared = active_by_owner.get(w.owner, 0), active_by_project.get(w.project, 0)
        return -w.priority, max(own, shared), own, w.created, w.job_id

    return sorted(waiting, key=rank)


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
