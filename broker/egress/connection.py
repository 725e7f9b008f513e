"""Connections that resolve a name, check the address, connect to that same address, and keep a deadline."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from broker.egress.policy import EgressPolicy
from broker.errors import EgressRefused

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_ADDRESSES = 4  # tried of one name, so that a long list of dead ones does not multiply the timeout


class _Paced(io.RawIOBase):
    """The bytes of one response; each read gets what is left of the response's time, at most: in all, and, where the
    policy wants a rate, for as many bytes as have come."""

    def __init__(self, sock: socket.socket, policy: EgressPolicy) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._patience = sock.gettimeout()
        self._began = time.monotonic()
        self._policy = policy
        self._came = 0

    def _allowed(self) -> float:
        """Seconds from the beginning on."""
        policy = self._policy
        if not policy.least_rate:
            return policy.max_seconds
        return min(policy.max_seconds, policy.read_timeout + self._came / policy.least_rate)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        left = self._began + self._allowed() - time.monotonic()
        if left <= 0:
            raise TimeoutError("the response took longer than the policy allows")
        patience = left if self._patience is None else min(left, self._patience)
        if patience != self._sock.gettimeout():
            self._sock.settimeout(patience)
        count = self._raw.readinto(buffer)
        self._came += count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class Adapter(HTTPAdapter):
    """A transport of `requests` whose connections only reach addresses that the policy allows.

    `trusted` leaves the address check out: for origins that the operator configured or the broker signed.
    """

    def __init__(self, policy: EgressPolicy, *, trusted: bool) -> None:
        self._pools = _pools(policy, trusted)
        super().__init__(pool_connections=8, pool_maxsize=8, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools


def connect(policy: EgressPolicy, host: str, port: int, timeout: float | None, *, trusted: bool) -> socket.socket:
    """Connect to the first address of `host` that the policy allows.

    Raises EgressRefused where it allows none, OSError where none answers.
    """
    if not trusted and not policy.host_allowed(host):  # again here, where no parser can be of another opinion
        raise EgressRefused(f"The host {host} is not on the list of hosts that may be used.")
    refusal: str | None = None
    failure: OSError | None = None
    tried = 0
    for family, kind, proto, _, address in socket.getaddrinfo(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM):
        why = None if trusted else policy.judge(host, str(address[0]))
        if why is not None:
            refusal = why
            continue
        if (tried := tried + 1) > _ADDRESSES:
            break
        try:
            return _connected(policy, host, family, kind, proto, address, timeout, trusted=trusted)
        except OSError as problem:
            failure = problem
    if failure is not None:
        raise failure
    raise EgressRefused(
        f"The broker may not connect to {host}: {refusal or 'it has no address'}.",
        hint="Use an address on the public Internet, or ask the operator to allow this host.",
    )


def _connected(
    policy: EgressPolicy,
    host: str,
    family: int,
    kind: int,
    proto: int,
    address: Any,
    timeout: float | None,
    *,
    trusted: bool,
) -> socket.socket:
    sock = socket.socket(family, kind, proto)
    try:
        sock.settimeout(timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect(address)
        # What counts is where the socket ended up, whatever was resolved.
        peer = str(sock.getpeername()[0])
        if not trusted and (why := policy.judge(host, peer)) is not None:
            raise EgressRefused(f"The broker may not connect to {host}: {why}.")
    except BaseException:
        sock.close()
        raise
    return sock


def _pools(policy: EgressPolicy, trusted: bool) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3 pools whose connections go through `connect`; TLS above them is urllib3's own, SNI included."""

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
            super().__init__(sock, *args, **kwargs)
            self.fp.close()
            self.fp = io.BufferedReader(_Paced(sock, policy), 65536)

    def dial(connection: HTTPConnection) -> socket.socket:
        timeout = connection.timeout if isinstance(connection.timeout, int | float) else policy.connect_timeout
        try:
            return connect(policy, connection.host, connection.port or 0, timeout, trusted=trusted)
        except socket.gaierror as problem:
            raise NameResolutionError(connection.host, connection, problem) from problem
        except TimeoutError as problem:
            raise ConnectTimeoutError(connection, f"no answer from {connection.host}") from problem
        except (OSError, UnicodeError) as problem:
            raise NewConnectionError(connection, str(problem)) from problem

    class Plain(HTTPConnection):
        response_class = Response

        def _new_conn(self) -> socket.socket:
            return dial(self)

    class Secure(HTTPSConnection):
        response_class = Response

        def _new_conn(self) -> socket.socket:
            return dial(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    assert ssl.HAS_SNI  # noqa: S101  (TLS without SNI would reach the wrong certificate)
    return {"http": PlainPool, "https": SecurePool}
