"""Credentials for targets of publications are tried where they are used, as the operator configured that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.access.credential import Kind, Secret
from broker.egress import Egress
from broker.errors import CredentialRefused
from broker.execution.trials import door, tried
from broker.jobs.secrets import origin
from broker.results.configuration import Publishing
from tests.peers.github import GitHubPeer
from tests.peers.prr import PrrPeer, prr_peer
from tests.peers.s3 import ACCESS_KEY, SECRET_KEY


@pytest.fixture(scope="module")
def prr() -> Iterator[PrrPeer]:
    with prr_peer() as peer:
        peer.collection("water")
        peer.collection("ice", "somebody-else")
        yield peer


def publishing(**target: str) -> Publishing:
    return Publishing.model_validate({"targets": {"it": target}})


def said(given: Publishing, kind: Kind, target: str, **fields: str) -> str:
    secret = Secret(kind, target, fields)
    with Egress() as egress:
        return tried(egress, (), secret, door=door(given, secret))


@pytest.mark.parametrize("collection", ["water", "ice", None])
def test_a_wrong_password_of_the_repository_is_found_out(prr: PrrPeer, collection: str | None) -> None:
    named = {"collection": collection} if collection else {}
    place = prr.place("water")
    given = publishing(
        kind="prr", reg_api=place.reg_api, stac=place.stac, s3_endpoint=prr.s3.endpoint, bucket=place.bucket, **named
    )
    where = origin(place.reg_api) or ""
    assert "answered" in said(given, Kind.PRR, where, username=ACCESS_KEY, password=SECRET_KEY)
    with pytest.raises(CredentialRefused, match="401"):
        said(given, Kind.PRR, where, username=ACCESS_KEY, password="wrong")
    assert not prr.items


def test_a_token_is_tried_at_the_api_that_the_target_names(tmp_path: Path) -> None:
    with GitHubPeer(tmp_path, "esa/catalog") as github:
        given = publishing(kind="github", repository="esa/catalog", api=github.api, web="https://git.example.org")
        where = "https://git.example.org/esa/catalog"
        assert "answered 200" in said(given, Kind.GITHUB, where, token=github.token)
        with pytest.raises(CredentialRefused, match="401"):
            said(given, Kind.GITHUB, where, token="wrong")
