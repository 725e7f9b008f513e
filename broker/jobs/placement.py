"""Which platform may run a package: a pure match of needs and capabilities."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from broker.jobs.model import Capabilities, Needs


@dataclass(frozen=True, slots=True)
class Candidate:
    """A platform as last checked."""

    name: str
    capabilities: Capabilities
    available: bool = True
    paused: bool = False
    message: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the job goes (None: nowhere), and for every platform left out, why."""

    platform: str | None
    reasons: Mapping[str, tuple[str, ...]]
    by_capacity: bool = False  # every refusal is one of size: the fault is a limit, not the platform


INSTALL_ENGINE = "Install one with: apt-get install podman"


def unfit(needs: Needs, offer: Capabilities) -> tuple[str, ...]:
    """Why a platform cannot run a package: one sentence each; empty when it can."""
    reasons = []
    if needs.kind not in offer.kinds:
        reasons.append(f"it runs {', '.join(sorted(offer.kinds))}, not {needs.kind}.")
    if offer.features and (missing := needs.features - offer.features):
        reasons.append(f"it does not offer {', '.join(sorted(missing))}.")
    if offer.isolation == "none":
        reasons.append("it has nothing here that may confine a tool.")
    required = sorted(image for image, must in needs.images.items() if must)
    if required and offer.container_engine is None:
        reasons.append(f"it has no container engine, and the package requires {required[0]}. {INSTALL_ENGINE}")
    if needs.network and not offer.network:
        reasons.append("it gives tools no network access (NetworkAccess).")
    if needs.gpu and not offer.gpu:
        reasons.append("it has no GPU.")
    return tuple(reasons) + too_small(needs, offer)


def too_small(needs: Needs, offer: Capabilities) -> tuple[str, ...]:
    """Reasons of size only."""
    reasons = []
    if needs.cores > offer.cores:
        reasons.append(f"it has {offer.cores:g} cores, and the package needs {needs.cores:g}.")
    if needs.ram_mib > offer.ram_mib:
        reasons.append(f"it has {offer.ram_mib} MiB of memory, and the package needs {needs.ram_mib} MiB.")
    return tuple(reasons)


def place(needs: Needs, candidates: Iterable[Candidate], wanted: str | None = None) -> Placement:
    """The platform for a job: the wanted one if it fits, else the first in the operator's order that does.

    A platform that is down or paused still takes jobs when no other fits: they wait for it.
    """
    fitting: list[Candidate] = []
    reasons: dict[str, tuple[str, ...]] = {}
    by_capacity = True
    for candidate in candidates:
        if wanted is not None and candidate.name != wanted:
            continue
        why = unfit(needs, candidate.capabilities)
        if why:
            reasons[candidate.name] = why
            by_capacity = by_capacity and why == too_small(needs, candidate.capabilities)
        else:
            fitting.append(candidate)
    fitting.sort(key=lambda candidate: not candidate.available or candidate.paused)
    return Placement(fitting[0].name if fitting else None, reasons, bool(reasons) and by_capacity)
