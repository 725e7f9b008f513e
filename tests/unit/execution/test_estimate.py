"""What an estimate says where the platform tells a part of it."""

from __future__ import annotations

import pytest

from broker.execution.estimate import _of
from broker.jobs.model import Capabilities, JobSpec, Needs
from broker.jobs.placement import Candidate
from broker.jobs.terms import Terms
from broker.platform import Estimate

EUROS = Terms(core_hour=3.0, job=1.0, currency="EUR")


class Telling:
    """A platform that says this."""

    def __init__(self, told: Estimate) -> None:
        self.told = told

    def estimate(self, spec: JobSpec) -> Estimate:
        return self.told


@pytest.mark.parametrize(
    ("told", "cores", "costs", "currency"),
    [
        (Estimate(duration=1800.0), 2.0, 4.0, "EUR"),  # half an hour of two cores, and the job
        (Estimate(costs=7.0, duration=1800.0), 2.0, 7.0, "credits"),  # what it says itself comes first
        (Estimate(size=5), 2.0, None, "credits"),
        (Estimate(duration=1800.0), 0.0, 1.0, "EUR"),
    ],
)
def test_how_long_it_takes_is_the_platforms_and_the_price_its_operators(
    told: Estimate, cores: float, costs: float | None, currency: str
) -> None:
    spec = JobSpec("j", 1, "n", "o", "p", "x@1", {}, {}, needs=Needs(cores=cores))
    basis, found = _of(Telling(told), spec, Candidate("far", Capabilities(), terms=EUROS), None)
    assert (basis, found.costs, found.currency) == ("platform", costs, currency)
    assert ("operator's prices" in found.text) == (currency == "EUR")
