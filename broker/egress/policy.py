"""Which addresses the broker may reach on behalf of its users: a policy, and the judgement of one address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from broker.errors import SetupError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Explicit lists rather than `ipaddress.is_global`, whose answers differ between Python releases (CVE-2024-4032).
# Source: the IANA special-purpose address registries. IPv6 is an allow-list: only 2000::/3 is routed on the Internet.
_PRIVATE_V4 = tuple(
    IPv4Network(net)
    for net in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_PUBLIC_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(IPv6Network(net) for net in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is reached

# Instance metadata gives out the machine's own credentials: no policy opens these.
_METADATA: frozenset[Address] = frozenset(
    ip_address(text)
    for text in (
        "169.254.169.254",  # AWS, Azure, Google, OpenStack, OVH and others
        "169.254.169.253",  # AWS resolver
        "169.254.169.123",  # AWS time
        "169.254.170.2",  # AWS ECS task credentials
        "169.254.170.23",  # AWS EKS pod identity
        "168.63.129.16",  # Azure WireServer, an address that looks public
        "100.100.100.200",  # Alibaba Cloud
        "192.0.0.192",  # Oracle Cloud
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",  # AWS EKS pod identity
        "fd20:ce::254",  # Google
    )
)

INPUT_SCHEMES = frozenset({"http", "https"})
"""For inputs, whose archives are not all on https; the default of a policy is https only."""


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """Rules of one kind of outbound request. Sizes in bytes, times in seconds.

    `allow_hosts`: names (`data.example.org`, or `.example.org` for all below) whose addresses may be private;
    `allow_networks`: private networks (CIDR) that may be reached under any name; `only_hosts`: when not empty,
    no other host is reached at all. `max_seconds`: of one response; `least_rate`: bytes in a second that its body has
    to bring on the whole, once `read_timeout` is over (0: as slow as it likes). `proxy`: a forward proxy that then
    resolves the names (and must itself keep private addresses out of reach). `ca_file`: certificates to trust instead
    of certifi's. Instance metadata addresses stay closed whatever the policy says.
    """

    schemes: frozenset[str] = frozenset({"https"})
    allow_hosts: tuple[str, ...] = ()
    allow_networks: tuple[str, ...] = ()
    only_hosts: tuple[str, ...] = ()
    max_bytes: int = 100 * 2**30
    max_redirects: int = 5
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    max_seconds: float = 6 * 3600.0
    least_rate: float = 0.0
    proxy: str | None = None
    ca_file: str | None = None

    def __post_init__(self) -> None:
        try:
            _networks(self.allow_networks)
        except ValueError as problem:
            raise SetupError(
                f"allow_networks of the egress policy is not usable: {problem}.", hint="Write networks as 10.0.0.0/8."
            ) from problem
        if unknown := self.schemes - {"http", "https"}:
            raise SetupError(f"The egress policy allows schemes that are not http or https: {sorted(unknown)}.")

    def host_allowed(self, host: str) -> bool:
        """May requests go to this host name at all?"""
        return not self.only_hosts or _named(host, self.only_hosts)

    def address_allowed(self, host: str, address: str) -> bool:
        """May a connection for `host` go to `address` (as `getaddrinfo` or `getpeername` print it)?"""
        return not (self.judge(host, address))

    def judge(self, host: str, address: str) -> str | None:
        """Why a connection for `host` may not go to `address`; None where it may."""
        ip, scoped = _plain(address)
        if ip in _METADATA:
            return "it is an instance metadata address"
        # The embedded IPv4 address is what a packet to ::ffff:a.b.c.d reaches, so both forms may be listed.
        if any(ip.version == net.version and ip in net for net in _networks(self.allow_networks)):
            return None
        if scoped or not is_public(ip):
            return None if _named(host, self.allow_hosts) else "it is not a public address"
        return None

    def to_json(self) -> dict[str, Any]:
        return {
            "schemes": sorted(self.schemes),
            "allowHosts": list(self.allow_hosts),
            "allowNetworks": list(self.allow_networks),
            "onlyHosts": list(self.only_hosts),
            "maxBytes": self.max_bytes,
            "maxRedirects": self.max_redirects,
            "connectTimeout": self.connect_timeout,
            "readTimeout": self.read_timeout,
            "maxSeconds": self.max_seconds,
            "leastRate": self.least_rate,
            "proxy": self.proxy,
            "caFile": self.ca_file,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> EgressPolicy:
        """The policy that `to_json` wrote; what is missing keeps its default."""
        plain = cls()
        return cls(
            frozenset(value.get("schemes", plain.schemes)),
            tuple(value.get("allowHosts", ())),
            tuple(value.get("allowNetworks", ())),
            tuple(value.get("onlyHosts", ())),
            value.get("maxBytes", plain.max_bytes),
            value.get("maxRedirects", plain.max_redirects),
            value.get("connectTimeout", plain.connect_timeout),
            value.get("readTimeout", plain.read_timeout),
            value.get("maxSeconds", plain.max_seconds),
            value.get("leastRate", plain.least_rate),
            value.get("proxy"),
            value.get("caFile"),
        )


def is_public(ip: Address) -> bool:
    """True for an address that the whole Internet can reach, also when it is wrapped in IPv6 (mapped, NAT64)."""
    if isinstance(ip, IPv4Address):
        return not any(ip in net for net in _PRIVATE_V4)
    return ip in _PUBLIC_V6 and not any(ip in net for net in _SPECIAL_V6)


def _plain(address: str) -> tuple[Address, bool]:
    """The address that packets reach, unwrapped from IPv6, and whether it had a scope (`fe80::1%eth0`)."""
    bare, _, scope = address.partition("%")
    ip = ip_address(bare)
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in _NAT64:
            ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip, bool(scope)


@lru_cache(maxsize=64)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(text, strict=False) for text in texts)


def _named(host: str, names: tuple[str, ...]) -> bool:
    host = host.rstrip(".").strip("[]").casefold()
    return any(host == name or (name.startswith(".") and host.endswith(name)) for name in (n.casefold() for n in names))
