"""Which addresses are out of reach, in every spelling that resolves to them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from broker.egress import Egress, EgressPolicy, FetchError, is_public
from broker.errors import EgressRefused

SPELLINGS = """
127.0.0.1 127.1 127.0.1 127.255.255.254 2130706433 0x7f000001 0x7f.1 0177.0.0.1 0177.1 017700000001 0x7F.0x0.0x0.0x1
localhost LOCALHOST localhost. 0 0.0.0.0 0x0 00 0.0 [::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1]
[::127.0.0.1] [::ffff:0:127.0.0.1] [64:ff9b::127.0.0.1] [64:ff9b::a00:1] [64:ff9b:1::1] [2002:7f00:1::1] [2001::1]
10.0.0.1 10.1 167772161 172.16.0.1 172.31.255.255 192.168.0.1 3232235521 0xc0a80001 100.64.0.1 100.127.255.255
169.254.0.1 169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376 169.254.43518 [::ffff:169.254.169.254]
[::ffff:a9fe:a9fe] [64:ff9b::a9fe:a9fe] [fd00:ec2::254] [fe80::1] [fc00::1] [fd12:3456::1] [fec0::1] [ff02::1]
168.63.129.16 100.100.100.200 192.0.0.192 192.0.0.1 192.0.2.1 192.88.99.1 198.18.0.1 198.51.100.1 203.0.113.1
224.0.0.1 240.0.0.1 255.255.255.255 [2001:db8::1] [3fff::1] [4000::1] [100::1] [5f00::1]
""".split()  # noqa: SIM905


@pytest.mark.parametrize("host", SPELLINGS)
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_private_addresses_are_refused(scheme: str, host: str) -> None:
    policy = EgressPolicy(schemes=frozenset({"http", "https"}), connect_timeout=1)
    with Egress(policy) as egress, pytest.raises(EgressRefused, match="may not connect"):
        egress.open(f"{scheme}://{host}:9/")


@pytest.mark.parametrize(
    "host", ["①②⑦.⓪.⓪.①", "127。0。0。1", "[fe80::1%25lo]", "[::1%25lo]", "127.0.0.1%00.example.org"]
)
def test_spellings_that_are_no_addresses(host: str) -> None:
    policy = EgressPolicy(schemes=frozenset({"http"}), connect_timeout=1)
    with Egress(policy) as egress, pytest.raises((EgressRefused, FetchError)):
        egress.open(f"http://{host}:9/")


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1", "192.0.1.1"]
)
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))
    assert EgressPolicy().judge("example.org", address) is None
    if ":" not in address:
        assert EgressPolicy().judge("example.org", f"::ffff:{address}") is None
        assert EgressPolicy().judge("example.org", f"64:ff9b::{address}") is None


def test_operators_open_networks_but_never_metadata() -> None:
    policy = EgressPolicy(allow_hosts=("inside.example.org",), allow_networks=("0.0.0.0/0", "::/0"))
    assert policy.judge("any.example.org", "10.0.0.1") is None
    assert policy.judge("any.example.org", "::1") is None
    for metadata in (
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "fd00:ec2::254",
        "168.63.129.16",
        "64:ff9b::a9fe:a9fe",
    ):
        assert policy.judge("inside.example.org", metadata) is not None


def test_a_network_opens_no_more_than_itself() -> None:
    policy = EgressPolicy(allow_networks=("10.1.0.0/16",))
    assert policy.judge("x", "10.1.2.3") is None
    assert policy.judge("x", "::ffff:10.1.2.3") is None
    assert policy.judge("x", "10.2.2.3") is not None
    assert policy.judge("x", "127.0.0.1") is not None


def test_scoped_addresses_are_local() -> None:
    assert EgressPolicy().judge("x", "2606:4700::1111%eth0") is not None
