"""Quotas as pure decisions: whose limits count, when they are reached, and what is said then."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from broker.access.quota import (
    HOUR,
    Kind,
    Quota,
    Quotas,
    Tenant,
    Used,
    month,
    refuse_bytes,
    refuse_job,
    tenants,
    waits,
)

ME = Tenant(Kind.PERSON, "a")
NOW = datetime(2026, 12, 31, 23, 0, tzinfo=UTC).timestamp()


def test_ones_own_project_is_no_project() -> None:
    assert [str(one) for one in tenants("a", "a", None)] == ["person/a"]
    assert [str(one) for one in tenants("a", "p", "portal")] == ["person/a", "project/p", "delegate/portal"]


def test_what_a_row_leaves_open_is_as_in_the_settings() -> None:
    quotas = Quotas({Kind.PERSON: Quota(queued=5, running=2)}, {ME: Quota(running=9, scatter_width=4)})
    assert quotas.of(ME) == Quota(queued=5, running=9, scatter_width=4)
    assert quotas.of(Tenant(Kind.PERSON, "b")) == Quota(queued=5, running=2)
    assert quotas.of(Tenant(Kind.PROJECT, "a")) == Quota()
    assert quotas.scatter_width("a", "p", None) == 4
    assert quotas.scatter_width("b", "p", None) is None
    assert not Quotas({Kind.PERSON: Quota()})
    assert list(Quotas().limited("a", "p", "x")) == []


@pytest.mark.parametrize(
    ("used", "name", "retry"),
    [
        (Used(queued=2), "queued", 30.0),
        (Used(core_seconds=10 * HOUR), "cpu_hours", HOUR),
        (Used(storage_bytes=100), "storage_bytes", HOUR),
    ],
)
def test_what_is_used_up_is_named_with_what_to_do(used: Used, name: str, retry: float) -> None:
    quota = Quota(queued=2, cpu_hours=10, storage_bytes=100)
    refused = refuse_job(ME, quota, used, NOW)
    assert refused is not None
    assert refused.quota is not None
    assert (refused.quota["name"], refused.quota["kind"], refused.quota["subject"]) == (name, "person", "a")
    assert refused.retry_after == retry
    assert refused.hint is not None
    assert "GET /quota" in refused.hint


def test_the_last_place_is_given_away() -> None:
    quota = Quota(queued=2, cpu_hours=10, storage_bytes=100)
    assert refuse_job(ME, quota, Used(1, 99, 10 * HOUR - 1, 99), NOW) is None
    assert refuse_bytes(ME, quota, Used(storage_bytes=90), 10) is None
    assert refuse_bytes(ME, quota, Used(storage_bytes=90), 11) is not None
    assert waits(ME, Quota(running=4), 3) is None
    assert waits(ME, Quota(running=4), 4) == "Waiting: your quota of 4 running jobs."
    project = Tenant(Kind.PROJECT, "eo")
    assert waits(project, Quota(running=0), 0) == "Waiting: the project eo's quota of 0 running jobs."


def test_months_are_those_of_utc() -> None:
    assert (month(NOW), month(NOW + HOUR)) == (202612, 202701)


def test_json_keeps_what_is_limited_and_only_that() -> None:
    quota = Quota(queued=0, cpu_hours=1.5)
    assert quota.to_json() == {"queued": 0, "cpu_hours": 1.5}
    assert Quota.from_json(quota.to_json() | {"of a later release": 1}) == quota
