"""Placement: every refusal has a reason that a person can act on."""

from __future__ import annotations

import pytest

from broker.jobs.model import Capabilities, Needs
from broker.jobs.placement import Candidate, place

OFFER = Capabilities(cores=2, ram_mib=1000, features=frozenset({"ScatterFeatureRequirement"}))


@pytest.mark.parametrize(
    ("needs", "words"),
    [
        (Needs(kind="openeo"), "not openeo"),
        (Needs(features=frozenset({"MPIRequirement"})), "MPIRequirement"),
        (Needs(images={"img:1": True}), "apt-get install podman"),
        (Needs(network=True), "NetworkAccess"),
        (Needs(gpu=True), "GPU"),
        (Needs(cores=3), "2 cores"),
        (Needs(ram_mib=2000), "1000 MiB"),
    ],
)
def test_refusals_say_why(needs: Needs, words: str) -> None:
    found = place(needs, [Candidate("local@h", OFFER)])
    assert found.platform is None
    assert words in " ".join(found.reasons["local@h"])


def test_an_image_that_is_only_a_hint_needs_no_engine() -> None:
    assert place(Needs(images={"img:1": False}), [Candidate("local@h", OFFER)]).platform == "local@h"


def test_only_size_is_a_limit() -> None:
    assert place(Needs(cores=9), [Candidate("a", OFFER)]).by_capacity
    assert not place(Needs(cores=9, gpu=True), [Candidate("a", OFFER)]).by_capacity
    assert not place(Needs(), []).by_capacity


def test_order_health_and_wish() -> None:
    down, up = Candidate("down", OFFER, available=False), Candidate("up", OFFER)
    assert place(Needs(), [down, up]).platform == "up"
    assert place(Needs(), [down]).platform == "down"
    assert place(Needs(), [down, up], wanted="down").platform == "down"
    assert place(Needs(), [up], wanted="other").platform is None
