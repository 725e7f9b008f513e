"""Where a job runs: which platforms can run it, and which of those comes first. Pure decisions, with their reasons.

A platform is left out, with a sentence for each requirement that fails, when
- another one is named by the request;
- it is not for the job's project, or the project's budget there is spent (tenant policy);
- the package needs what it does not offer (capability, `unfit`).

Of the others comes first, by the first of RULES that tells them apart:
1. health: one that takes jobs now before one that is paused or does not answer;
2. data: beside which more of the job's inputs lie;
3. room: one with room for the job now before one where it would have to wait;
4. cost: the cheaper one, where all of them say what they cost, in the same currency;
5. order: that in which the operator lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from broker.jobs.datatypes import lacking
from broker.jobs.model import Capabilities, Needs, StageItem
from broker.jobs.schedule import Load, short_of
from broker.jobs.terms import NO_TERMS, Terms


@dataclass(frozen=True, slots=True)
class Candidate:
    """A platform as last checked; `capabilities` as its operator bounds them."""

    name: str
    capabilities: Capabilities
    available: bool = True
    paused: bool = False
    message: str = ""
    terms: Terms = NO_TERMS
    adapter: str = ""

    @property
    def takes_jobs(self) -> bool:
        return self.available and not self.paused


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be placed. `project` None: nobody's in particular; `urls`: where its inputs are; `closed`: those of
    them that are no links which everybody may read; `spent`: the platforms on which the project's budget is spent."""

    needs: Needs
    named: str | None = None
    project: str | None = None
    urls: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    spent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the job goes (None: nowhere), why there, and for every platform left out, why."""

    platform: str | None
    reasons: Mapping[str, tuple[str, ...]]
    by_capacity: bool = False  # every refusal is one of size: the fault is a limit, not the platform
    rule: str = "only"  # named · only, or the one of RULES that decided
    why: str = ""
    others: tuple[str, ...] = ()  # that can run it too, the next best first
    over_budget: bool = False  # there is one that would do, were its budget not spent

    def to_json(self) -> dict[str, Any] | None:
        """As jobs keep it; None where there was nothing to decide."""
        if self.rule == "only" and not self.reasons:
            return None
        found: dict[str, Any] = {"rule": self.rule, "why": self.why}
        if self.others:
            found["others"] = list(self.others)
        if self.reasons:
            found["reasons"] = {name: list(why) for name, why in self.reasons.items()}
        return found


STEPS_APART = "local"  # the adapter that can run a workflow without some of its steps
SPENT = "your project has spent its budget there for this month."
# what `Capabilities.without` may hold
SEVERAL_FILES, OUTPUTS, CLOSED, UPLOADS = "several files", "outputs", "closed inputs", "uploads"
SHAPES: Mapping[str, str] = {
    SEVERAL_FILES: "it takes packages of one file, and this one has several.",
    OUTPUTS: "it takes packages whose one output is a Directory.",
    UPLOADS: "it takes no files (PUT /files), and the process reads files that were sent there.",
}
INSTALL_ENGINE = "Install one with: apt-get install podman"


def unfit(needs: Needs, offer: Capabilities) -> tuple[str, ...]:
    """Why a platform cannot run a package: one sentence each; empty when it can."""
    if not offer.kinds:
        return ("it has not said yet what it runs.",)
    reasons = []
    if needs.kind not in offer.kinds:
        reasons.append(f"it runs {', '.join(sorted(offer.kinds))}, not {needs.kind}.")
    if offer.features and (missing := needs.features - offer.features):
        servers = sorted(one for one in missing if "://" in one)  # of a process that is at one of them only
        reasons += [f"it is not the server {one}, which has the process." for one in servers]
        if offered := sorted(missing.difference(servers)):
            reasons.append(f"it does not offer {', '.join(offered)}.")
    if offer.isolation == "none":
        reasons.append("it has nothing here that may confine a tool.")
    required = sorted(image for image, must in needs.images.items() if must)
    if required and offer.container_engine is None:
        reasons.append(f"it has no container engine, and the package requires {required[0]}. {INSTALL_ENGINE}")
    if needs.network and not offer.network:
        reasons.append("it gives tools no network access (NetworkAccess).")
    if needs.gpu and not offer.gpu:
        reasons.append("it has no GPU.")
    reasons += [SHAPES[one] for one in sorted(needs.shape & offer.without & SHAPES.keys())]
    return tuple(reasons) + too_small(needs, offer)


def too_small(needs: Needs, offer: Capabilities) -> tuple[str, ...]:
    """Reasons of size only."""
    reasons = []
    if needs.cores > offer.cores:
        reasons.append(f"it has {offer.cores:g} cores, and the package needs {needs.cores:g}.")
    if needs.ram_mib > offer.ram_mib:
        reasons.append(f"it has {offer.ram_mib} MiB of memory, and the package needs {needs.ram_mib} MiB.")
    return tuple(reasons)


def against(wish: Wish, candidate: Candidate) -> tuple[str, ...]:
    """Why a job may not run on a platform; empty when it may."""
    reasons = []
    if wish.project is not None and not candidate.terms.serves(wish.project):
        reasons.append("it is not for your project; its operator says for whom it is.")
    if candidate.name in wish.spent:
        reasons.append(SPENT)
    reasons += lacking(wish.needs.data_types, {*candidate.capabilities.data_types, *candidate.terms.data_types})
    if wish.needs.elsewhere and candidate.adapter != STEPS_APART:
        reasons.append(f"it cannot leave steps to other platforms ({', '.join(sorted(wish.needs.elsewhere))}).")
    if wish.closed and wish.needs.kind == "cwl" and CLOSED in candidate.capabilities.without:
        reasons.append(f"it fetches inputs by links that everybody may read, which {wish.closed[0]} is not.")
    return (*reasons, *unfit(wish.needs, candidate.capabilities))


def closed(stage: Iterable[StageItem]) -> tuple[str, ...]:
    """The inputs that are no links which everybody may read: those of a package's own, uploads, values, buckets."""
    return tuple(item.path for item in stage if not item.public)


Loads = Callable[[Iterable[str]], Mapping[str, Load]]
NO_LOAD = Load()


def place(wish: Wish, candidates: Iterable[Candidate], loads: Loads | None = None) -> Placement:
    """The platform for a job. `loads`: what platforms have to do now, asked only where several can run it.

    A platform that is down or paused still takes jobs when no other fits: they wait for it.
    """
    fitting: list[Candidate] = []
    reasons: dict[str, tuple[str, ...]] = {}
    by_capacity = True
    for candidate in candidates:
        if wish.named is not None and candidate.name != wish.named:
            continue
        why = against(wish, candidate)
        if why:
            reasons[candidate.name] = why
            by_capacity = by_capacity and why == too_small(wish.needs, candidate.capabilities)
        else:
            fitting.append(candidate)
    if not fitting:
        over = any(why == (SPENT,) for why in reasons.values())
        return Placement(None, reasons, bool(reasons) and by_capacity, over_budget=over)
    if wish.named is not None:
        return Placement(wish.named, reasons, rule="named", why="The request names it.")
    if len(fitting) == 1:
        return Placement(fitting[0].name, reasons, why="It is the only one that can run it." if reasons else "")
    ranked, rule, why_first = _ranked(wish, fitting, loads)
    others = tuple(one.name for one in ranked[1:])
    return Placement(ranked[0].name, reasons, rule=rule, why=why_first, others=others)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules look at, of one candidate; the smaller comes first."""

    health: bool
    data: int
    room: bool
    cost: float


RULES: Mapping[str, str] = {
    "health": "It takes jobs now; {second} does not.",
    "data": "{near} of {inputs} inputs lie near it.",
    "room": "It has room for the job now; on {second} it would have to wait.",
    "cost": "It is cheaper than {second}: {price:g} {currency} an hour.",
    "order": "It comes first in the operator's order.",
}


def _ranked(wish: Wish, fitting: Sequence[Candidate], loads: Loads | None) -> tuple[list[Candidate], str, str]:
    """The candidates in order, the rule that puts the first before the second, and that in a sentence."""
    load = {} if loads is None else loads([one.name for one in fitting])
    comparable = all(one.terms.priced for one in fitting) and len({one.terms.currency for one in fitting}) == 1
    facts = {
        one.name: Facts(
            not one.takes_jobs,
            -one.terms.beside(wish.urls),
            short_of(wish.needs, load.get(one.name, NO_LOAD), one.capabilities) is not None,
            one.terms.hour(wish.needs) if comparable else 0.0,
        )
        for one in fitting
    }
    ranked = sorted(fitting, key=lambda one: astuple(facts[one.name]))  # stable: the operator's order stays
    first, second = ranked[0], ranked[1]
    told = (rule for rule in RULES if rule != "order")
    rule = next((one for one in told if getattr(facts[first.name], one) != getattr(facts[second.name], one)), "order")
    why = RULES[rule].format(
        second=second.name,
        near=-facts[first.name].data,
        inputs=len(wish.urls),
        price=facts[first.name].cost,
        currency=first.terms.currency,
    )
    return ranked, rule, why
