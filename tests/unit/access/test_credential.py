"""Credentials as they are given: one spelling of what they are for, and never a value in an error."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from broker.access.credential import Kind, Secret, name_of, parse
from broker.errors import InputError
from broker.jobs.model import JobSpec
from broker.jobs.secrets import Released, origin

S3 = {"kind": "s3", "bucket": "scenes", "accessKey": "AK", "secretKey": "canary"}
HTTP = {"kind": "http", "origin": "https://data.example.org", "token": "canary"}
REGISTRY = {"kind": "registry", "host": "ghcr.io", "username": "me", "password": "canary"}
PRR = {"kind": "prr", "origin": "https://prr.example.org", "token": "canary"}
LOGIN = {"kind": "prr", "origin": "https://prr.example.org", "username": "me", "password": "canary"}
OPENEO = {"kind": "openeo", "origin": "https://eo.example.org", "clientId": "broker", "refreshToken": "canary"}
GITHUB = {"kind": "github", "repository": "ESA-EarthCODE/open-science-catalog", "token": "canary"}


def given(body: dict[str, Any], plain: str = "") -> Secret:
    return parse(body, plain=lambda host: host == plain)


@pytest.mark.parametrize(
    ("body", "target"),
    [
        (S3, "s3://scenes"),
        (S3 | {"bucket": "s3://scenes/", "endpoint": "https://s3.example.org", "region": "eu"}, "s3://scenes"),
        (HTTP, "https://data.example.org"),
        (HTTP | {"origin": "HTTPS://Data.Example.org:443/"}, "https://data.example.org"),
        (HTTP | {"origin": "https://data.example.org:8443"}, "https://data.example.org:8443"),
        (REGISTRY, "ghcr.io"),
        (REGISTRY | {"host": "https://Registry.Example.org:5000/"}, "registry.example.org:5000"),
        (REGISTRY | {"host": "index.docker.io"}, "docker.io"),
        (PRR, "https://prr.example.org"),
        (LOGIN, "https://prr.example.org"),
        (OPENEO, "https://eo.example.org"),
        (GITHUB, "https://github.com/ESA-EarthCODE/open-science-catalog"),
        (GITHUB | {"repository": "https://github.com/o/r.git"}, "https://github.com/o/r"),
    ],
)
def test_targets_have_one_spelling(body: dict[str, Any], target: str) -> None:
    found = given(body)
    assert found.target == target
    assert "canary" not in repr(found) + str(found)
    assert "canary" in str(dict(found.fields))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"kind": "ssh", "token": "canary"},
        OPENEO | {"username": "me", "password": "canary"},
        {"kind": "openeo", "origin": "https://eo.example.org", "refreshToken": "canary"},
        {"kind": "openeo", "origin": "https://eo.example.org", "username": "canary"},
        OPENEO | {"deviceCode": "canary"},
        {"kind": ["canary"]},
        {"kind": "http", "token": "canary"},
        S3 | {"bucket": "canary/.."},
        S3 | {"bucket": "-x"},
        {"kind": "s3", "bucket": "scenes", "secretKey": "canary"},
        S3 | {"endpoint": "http://canary.example.org"},
        S3 | {"endpoint": "https://user:canary@s3.example.org"},
        HTTP | {"origin": "http://canary.example.org"},
        HTTP | {"origin": "https://data.example.org/canary"},
        HTTP | {"origin": "https://data.example.org?canary"},
        HTTP | {"origin": "ftp://data.example.org"},
        HTTP | {"origin": "https://canary@data.example.org"},
        HTTP | {"origin": "https://data.example.org\\@canary"},
        HTTP | {"username": "me", "password": "canary"},
        HTTP | {"token": "canary\r\nX-Evil: 1"},
        HTTP | {"token": " canary"},
        HTTP | {"token": "canary" * 5000},
        HTTP | {"token": ""},
        HTTP | {"token": ["canary"]},
        HTTP | {"tokn": "canary"},
        HTTP | {"canary": 1},
        REGISTRY | {"host": "-canary"},
        REGISTRY | {"host": "ghcr.io/canary"},
        REGISTRY | {"username": "a:canary"},
        {"kind": "registry", "host": "ghcr.io", "password": "canary"},
        GITHUB | {"repository": "canary"},
        GITHUB | {"repository": "https://github.com/o/r/canary"},
        {"kind": "prr", "origin": "https://prr.example.org"},
        LOGIN | {"token": "canary"},
        {name: value for name, value in LOGIN.items() if name != "username"},
    ],
)
def test_what_is_wrong_is_said_without_a_value(body: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        given(body)
    assert "canary" not in str(caught.value)


def test_plain_http_only_where_the_operator_says_so() -> None:
    body = HTTP | {"origin": "http://10.1.2.3:8000"}
    with pytest.raises(InputError):
        given(body)
    assert given(body, plain="10.1.2.3").target == "http://10.1.2.3:8000"


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a/b", "..", "a" * 64, "a b"])
def test_names(name: str) -> None:
    with pytest.raises(InputError):
        name_of(name)
    assert name_of("my.scenes-2_x") == "my.scenes-2_x"


def test_authorization() -> None:
    assert given(HTTP).authorization == "Bearer canary"
    basic = base64.b64encode(b"me:canary").decode()
    assert given(REGISTRY).authorization == f"Basic {basic}"
    token = {"kind": "registry", "host": "ghcr.io", "username": "me", "token": "canary"}
    assert given(token).authorization == f"Basic {basic}"
    assert given(REGISTRY).scrubbed(f"who is canary? {basic}") == "who is …? …"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://a.example/x?y#z", "https://a.example"),
        ("HTTPS://A.example:443/", "https://a.example"),
        ("http://a.example:80", "http://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("https://[2001:DB8::1]/x", "https://[2001:db8::1]"),
        ("https://a.example\\@b.example/", None),
        ("https://a@b.example/", None),
        ("https://a.example:x/", None),
        ("https:///x", None),
        ("s3://bucket/x", None),
        ("https://a.example/\n", None),
    ],
)
def test_origins(url: str, found: str | None) -> None:
    assert origin(url) == found


def test_what_is_released_is_in_no_repr() -> None:
    released = Released({"b": {"secretKey": "canary"}}, {"https://h": "Bearer canary"}, {"r": {"password": "canary"}})
    spec = JobSpec("j", 1, "n", "o", "p", "x", {}, {}, secrets=released)
    assert "canary" not in repr(released) + str(released) + repr(spec) + str(spec)
    assert released
    assert not Released()
    assert Secret(Kind.HTTP, "https://h", {"token": "canary"}) == Secret(Kind.HTTP, "https://h", {"token": "canary"})
