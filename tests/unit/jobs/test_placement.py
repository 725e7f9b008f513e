"""Placement: every refusal has a reason that a person can act on, and every choice a rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.jobs.model import Capabilities, Needs
from broker.jobs.placement import RULES, Candidate, Wish, place
from broker.jobs.schedule import Load
from broker.jobs.terms import Terms

OFFER = Capabilities(cores=2, ram_mib=1000, features=frozenset({"ScatterFeatureRequirement"}))
ANY = Wish(Needs())


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (Needs(kind="openeo"), "not openeo"),
        (Needs(features=frozenset({"MPIRequirement"})), "does not offer MPIRequirement"),
        (Needs(features=frozenset({"https://far.example"})), "not the server https://far.example, which has"),
        (Needs(images={"img:1": True}), "apt-get install podman"),
        (Needs(network=True), "NetworkAccess"),
        (Needs(gpu=True), "GPU"),
        (Needs(cores=3), "2 cores"),
        (Needs(ram_mib=2000), "1000 MiB"),
    ],
)
def test_refusals_say_why(needs: Needs, words: str) -> None:
    found = place(Wish(needs), [Candidate("local@h", OFFER)])
    assert found.platform is None
    assert words in " ".join(found.reasons["local@h"])


def test_an_image_that_is_only_a_hint_needs_no_engine() -> None:
    assert place(Wish(Needs(images={"img:1": False})), [Candidate("local@h", OFFER)]).platform == "local@h"


def test_a_platform_that_never_answered_runs_nothing() -> None:
    found = place(ANY, [Candidate("new", Capabilities(kinds=frozenset()), available=False)])
    assert found.reasons == {"new": ("it has not said yet what it runs.",)}
    assert not found.by_capacity


def test_only_size_is_a_limit() -> None:
    assert place(Wish(Needs(cores=9)), [Candidate("a", OFFER)]).by_capacity
    assert not place(Wish(Needs(cores=9, gpu=True)), [Candidate("a", OFFER)]).by_capacity
    assert not place(ANY, []).by_capacity


def test_order_health_and_wish() -> None:
    down, up = Candidate("down", OFFER, available=False), Candidate("up", OFFER)
    assert place(ANY, [down, up]).platform == "up"
    assert place(ANY, [down]).platform == "down"
    assert place(replace(ANY, named="down"), [down, up]).platform == "down"
    assert place(replace(ANY, named="other"), [up]).platform is None


def test_tenant_policy_leaves_platforms_out() -> None:
    ours = Candidate("ours", OFFER, terms=Terms(projects=("ice",)))
    assert place(Wish(Needs(), project="ice"), [ours]).platform == "ours"
    refused = place(Wish(Needs(), project="water"), [ours])
    assert (refused.platform, refused.over_budget) == (None, False)
    assert "not for your project" in refused.reasons["ours"][0]
    spent = place(Wish(Needs(), project="ice", spent=frozenset({"ours"})), [ours])
    assert (spent.platform, spent.over_budget) == (None, True)
    small = place(Wish(Needs(cores=9), project="ice", spent=frozenset({"ours"})), [ours])
    assert not small.over_budget  # more money would not help


DEAR, CHEAP = Terms(core_hour=3.0), Terms(core_hour=1.0, currency="credits")
NEAR = Terms(near=("https://data.example/scenes", "s3://bucket"), core_hour=9.0)
URLS = ("https://data.example/scenes/a.tif", "s3://bucket/b.tif", "https://data.example/scenes-of-others/c.tif")


@pytest.mark.parametrize(
    ("rule", "first", "second", "load", "words"),
    [
        ("health", {}, {"paused": True, "terms": NEAR}, {}, "b does not"),
        ("data", {"terms": NEAR}, {"terms": CHEAP}, {"a": Load(1, 2.0)}, "2 of 3 inputs"),
        ("room", {"terms": DEAR}, {"terms": CHEAP}, {"b": Load(1, 2.0)}, "on b it would have to wait"),
        ("cost", {"terms": CHEAP}, {"terms": DEAR}, {"a": Load(1, 1.0)}, "cheaper than b: 1 credits an hour"),
        ("order", {}, {"terms": CHEAP}, {}, "operator's order"),  # one without a price is not free
    ],
)
def test_each_rule_goes_before_those_after_it(
    rule: str, first: dict[str, Any], second: dict[str, Any], load: dict[str, Load], words: str
) -> None:
    """The other one would be first by a later rule, and in the operator's order."""
    a, b = Candidate("a", OFFER, **first), Candidate("b", OFFER, **second)
    line = [a, b] if rule == "order" else [b, a]
    found = place(Wish(Needs(), urls=URLS), line, lambda names: load)
    assert (found.platform, found.rule, found.others) == ("a", rule, ("b",))
    assert words in found.why


def test_every_rule_is_tested() -> None:
    assert list(RULES) == ["health", "data", "room", "cost", "order"]


def test_nobody_asks_for_loads_where_there_is_nothing_to_choose() -> None:
    def loads(names: object) -> dict[str, Load]:
        raise AssertionError("asked")

    found = place(ANY, [Candidate("a", OFFER), Candidate("b", Capabilities(kinds=frozenset({"openeo"})))], loads)
    assert (found.platform, found.why) == ("a", "It is the only one that can run it.")
    assert place(ANY, [Candidate("a", OFFER)], loads).to_json() is None


def test_terms_are_kept_without_what_is_as_it_is_anyway() -> None:
    assert Terms().to_json() == {}
    assert Terms.from_json(NEAR.to_json()) == NEAR
    assert DEAR.costs(2, 1024, 1800) == 3.0
    assert Terms(gib_hour=2, job=0.5).costs(2, 512, 3600) == 1.5


def test_a_workflow_with_steps_elsewhere_goes_where_it_can_be_run_without_them() -> None:
    needs = Needs(elsewhere=frozenset({"far"}))
    there = [Candidate("far", OFFER, adapter="ogcapi"), Candidate("here", OFFER, adapter="local")]
    found = place(Wish(needs), there)
    assert found.platform == "here"
    assert found.reasons["far"] == ("it cannot leave steps to other platforms (far).",)
