"""Egress against a real server: limits, redirects, encodings, TLS, proxies, names that change their address."""

from __future__ import annotations

import gzip
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from threading import Event, Thread

import pytest

from broker.egress import Egress, EgressPolicy, FetchError, shown
from broker.errors import EgressRefused, SetupError
from tests.peers.web import WebPeer

LOOPBACK = EgressPolicy(schemes=frozenset({"http", "https"}), allow_networks=("127.0.0.0/8",))


@pytest.fixture
def web() -> Iterator[WebPeer]:
    with WebPeer() as peer:
        yield peer


@pytest.fixture
def egress() -> Iterator[Egress]:
    with Egress(LOOPBACK) as one:
        yield one


def names(monkeypatch: pytest.MonkeyPatch, *answers: str) -> list[str]:
    """Resolve every name to these addresses, one per look-up, the last one for good; gives the names asked for."""
    asked: list[str] = []

    def resolve(host: str, port: int | None, *args: object, **kw: object) -> list[tuple[object, ...]]:
        asked.append(host)
        address = answers[min(len(asked), len(answers)) - 1]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


class TestAddresses:
    def test_default_policy_reaches_no_loopback(self, web: WebPeer) -> None:
        url = web.serve("/secret", b"secret")
        policy = EgressPolicy(schemes=frozenset({"http"}))
        with Egress(policy) as egress, pytest.raises(EgressRefused, match="not a public address"):
            egress.open(url)
        assert web.requests == []

    def test_http_needs_the_policy(self, web: WebPeer) -> None:
        with Egress(EgressPolicy(allow_networks=("127.0.0.0/8",))) as egress:
            for url in (
                web.url("/"),
                "file:///etc/passwd",
                "ftp://example.org/x",
                "gopher://example.org",
                "//x/y",
                "x",
            ):
                with pytest.raises(EgressRefused, match="starts with https"):
                    egress.open(url)

    def test_host_allowed_by_name(self, web: WebPeer) -> None:
        web.serve("/x", b"x")
        for names, fits in ((("localhost",), True), ((".localhost",), False), (("LOCALHOST",), True), ((), False)):
            with Egress(EgressPolicy(schemes=frozenset({"http"}), allow_hosts=names)) as egress:
                if fits:
                    assert egress.get_bytes(web.url("/x", "localhost"), 10) == b"x"
                else:
                    with pytest.raises(EgressRefused):
                        egress.open(web.url("/x", "localhost"))

    def test_only_hosts(self, web: WebPeer) -> None:
        web.serve("/x", b"x")
        with Egress(EgressPolicy(frozenset({"http"}), ("localhost",), ("127.0.0.0/8",), ("localhost",))) as egress:
            assert egress.get_bytes(web.url("/x", "localhost"), 10) == b"x"
            with pytest.raises(EgressRefused, match="list of hosts"):
                egress.open(web.url("/x"))

    def test_rebinding_changes_nothing(self, web: WebPeer, monkeypatch: pytest.MonkeyPatch) -> None:
        """A name that is public when looked at and private when connected to: there is only one look."""
        web.serve("/secret", b"secret")
        asked = names(monkeypatch, "192.0.2.1", "127.0.0.1")
        policy = EgressPolicy(frozenset({"http"}), allow_networks=("192.0.2.0/24",), connect_timeout=0.05)
        with Egress(policy) as egress:
            with pytest.raises(FetchError, match="does not answer"):
                egress.open(web.url("/secret", "rebind.example.org"))
            assert asked == ["rebind.example.org"]
            with pytest.raises(EgressRefused):
                egress.open(web.url("/secret", "rebind.example.org"))
        assert web.requests == []

    def test_the_peer_of_the_socket_counts(self, web: WebPeer, monkeypatch: pytest.MonkeyPatch) -> None:
        """Were something to divert the connection after the check, the socket's own peer is judged again."""
        real = socket.socket.connect
        monkeypatch.setattr(socket.socket, "connect", lambda sock, _: real(sock, ("127.0.0.1", web.port)))
        names(monkeypatch, "93.184.216.34")
        with Egress(EgressPolicy(frozenset({"http"}))) as egress, pytest.raises(EgressRefused):
            egress.open(web.url("/secret", "public.example.org"))
        assert web.requests == []

    def test_takes_the_allowed_one_of_several(self, web: WebPeer, monkeypatch: pytest.MonkeyPatch) -> None:
        web.serve("/x", b"x")

        def resolve(host: str, port: int, *args: object, **kw: object) -> list[tuple[object, ...]]:
            kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
            return [(*kind, ("10.0.0.1", port)), (*kind, ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with Egress(LOOPBACK) as egress:
            assert egress.get_bytes(web.url("/x", "both.example.org"), 10) == b"x"

    def test_trusted_reaches_the_operators_own(self, web: WebPeer) -> None:
        web.serve("/x", b"x")
        web.redirect("/away", web.url("/x", "localhost"))
        with Egress() as egress:
            assert egress.get_bytes(web.url("/x"), 10, trusted=True) == b"x"
            with pytest.raises(EgressRefused):  # another origin is not the operator's
                egress.get_bytes(web.url("/away"), 10, trusted=True)


class TestRedirects:
    @pytest.mark.parametrize("target", ["http://10.0.0.1/", "http://[::1]:1/", "http://169.254.169.254/latest/"])
    def test_to_a_private_address(self, web: WebPeer, egress: Egress, target: str) -> None:
        with pytest.raises(EgressRefused):
            egress.open(web.redirect("/r", target))

    @pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://example.org/", "http://u:p@127.0.0.1/"])
    def test_to_another_scheme(self, web: WebPeer, egress: Egress, target: str) -> None:
        with pytest.raises(EgressRefused):
            egress.open(web.redirect("/r", target))

    def test_from_https_to_http_needs_the_policy(self, web: WebPeer) -> None:
        with WebPeer(tls=True) as secure:
            policy = EgressPolicy(allow_networks=("127.0.0.0/8",), ca_file=secure.ca_file)
            with Egress(policy) as egress, pytest.raises(EgressRefused):
                egress.open(secure.redirect("/r", web.url("/x")))

    @pytest.mark.parametrize("target", ["http://[", "//[x]:y/", "http://a:b:c/", "http:///", "\x7f", "http://x\\y/"])
    def test_to_nonsense(self, web: WebPeer, egress: Egress, target: str) -> None:
        with pytest.raises((FetchError, EgressRefused)):
            egress.open(web.redirect("/r", target))

    def test_are_not_read(self, web: WebPeer, egress: Egress) -> None:
        web.serve("/r", b"x" * 10**6, status=302, headers={"Location": "/x"})
        web.serve("/x", b"there")
        web.stall("/r", after=10)
        assert egress.get_bytes(web.url("/r"), 10) == b"there"

    def test_are_counted(self, web: WebPeer, egress: Egress) -> None:
        with pytest.raises(FetchError, match="redirects too often"):
            egress.open(web.redirect("/loop", "/loop"))
        assert len(web.requests) == 1 + LOOPBACK.max_redirects

    def test_are_followed_with_the_range(self, web: WebPeer, egress: Egress) -> None:
        web.serve("/x", b"0123456789")
        with egress.open(web.redirect("/r", "/x"), 4) as answer:
            assert (answer.read(), answer.start, answer.size, answer.url) == (b"456789", 4, 10, web.url("/x"))

    def test_credentials_stay_at_home(self, web: WebPeer, egress: Egress) -> None:
        secrets = {"Authorization": "Bearer secret", "Cookie": "secret=1", "X-Fine": "yes"}
        with WebPeer() as other:
            other.serve("/x", b"x")
            web.redirect("/near", "/x")
            web.redirect("/far", other.url("/x"))
            web.serve("/x", b"x", headers={"Set-Cookie": "session=secret"})
            for path in ("/near", "/far"):
                egress.request("GET", web.url(path), headers=secrets).close()
            assert web.requests[-2].headers["authorization"] == "Bearer secret"
            assert "authorization" not in other.requests[0].headers
            assert "cookie" not in other.requests[0].headers
            assert other.requests[0].headers["x-fine"] == "yes"
        egress.get_bytes(web.url("/x"), 10)
        assert "cookie" not in web.requests[-1].headers  # none was remembered

    def test_a_post_is_not_redirected(self, web: WebPeer, egress: Egress) -> None:
        reply = egress.post_json(web.redirect("/callback", "/x", 307), {"a": 1}, headers={"X-Signature": "s"})
        assert reply.status == 307
        assert [(r.method, r.body, r.headers["x-signature"]) for r in web.requests] == [("POST", b'{"a": 1}', "s")]

    def test_what_a_receiver_answers_is_not_read(self, web: WebPeer, egress: Egress) -> None:
        gate = web.stall("/callback", after=1)
        url = web.serve("/callback", b"x" * 1000)
        assert egress.post_json(url, b"{}").status == 200
        assert not gate.is_set(), "it would have waited for the end"


class TestLimits:
    def test_announced_size(self, web: WebPeer, egress: Egress) -> None:
        with pytest.raises(FetchError, match="larger than the 5 bytes"):
            egress.get_bytes(web.serve("/x", b"123456"), 5)
        assert egress.get_bytes(web.url("/x"), 6) == b"123456"

    def test_unpacked_size(self, web: WebPeer, egress: Egress) -> None:
        bomb = gzip.compress(b"0" * 50_000_000)
        web.serve("/bomb", bomb, headers={"Content-Encoding": "gzip"})
        with pytest.raises(FetchError, match="larger"):
            egress.get_bytes(web.url("/bomb"), 1_000_000)

    @pytest.mark.parametrize("limit", [{"max_seconds": 0.1}, {"read_timeout": 0.1}])
    def test_time(self, web: WebPeer, limit: dict[str, float]) -> None:
        web.serve("/x", b"x" * 1000)
        with Egress(replace(LOOPBACK, **limit)) as egress:  # type: ignore[arg-type]
            web.stall("/x", after=500)
            with pytest.raises(FetchError, match="broke off") as caught:
                egress.get_bytes(web.url("/x"), 10_000)
            web.hold("/x")
            with pytest.raises(FetchError, match="does not answer"):
                egress.open(web.url("/x"))
        assert caught.value.transient

    @pytest.mark.parametrize(("rate", "enough"), [(0.0, True), (10.0, True), (1e6, False)])
    def test_a_body_that_drips(self, egress: Egress, rate: float, enough: bool) -> None:
        """Each byte in time, and the whole never: what counts is what came by then."""
        size, stop = 100, Event()

        def drip(server: socket.socket) -> None:
            peer, _ = server.accept()
            with peer, suppress(OSError):
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                for _ in range(size):
                    stop.wait(0.01)
                    peer.sendall(b"x")

        with socket.create_server(("127.0.0.1", 0)) as server:
            thread = Thread(target=drip, args=(server,))
            thread.start()
            with Egress(replace(LOOPBACK, read_timeout=0.5, least_rate=rate)) as egress:
                url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
                if enough:
                    assert egress.get_bytes(url, size) == b"x" * size
                else:
                    with pytest.raises(FetchError, match="broke off after 0 bytes") as caught:
                        egress.get_bytes(url, size)
                    assert caught.value.transient
            stop.set()
            thread.join()

    def test_a_body_that_breaks_off(self, web: WebPeer, egress: Egress) -> None:
        web.serve("/x", b"x" * 1000)
        web.cut("/x", after=500)
        with pytest.raises(FetchError, match="broke off after 500") as caught:
            egress.get_bytes(web.url("/x"), 10_000)
        assert caught.value.transient


class TestAnswers:
    @pytest.mark.parametrize(("status", "transient"), [(404, False), (403, False), (500, True), (429, True)])
    def test_errors_say_what_to_do(self, web: WebPeer, egress: Egress, status: int, transient: bool) -> None:
        web.fail("/x", status=status, headers={"Retry-After": "7"})
        with pytest.raises(FetchError, match=f"answered {status}") as caught:
            egress.open(web.url("/x") + "?signature=secret")
        problem = caught.value
        assert (problem.status, problem.transient, problem.retry_after) == (status, transient, 7.0)
        assert "secret" not in str(problem)

    def test_head(self, web: WebPeer, egress: Egress) -> None:
        answer = egress.head(web.serve("/x.tif", b"12345"))
        assert (answer.size, answer.media_type) == (5, "image/tiff")

    @pytest.mark.parametrize("status", [403, 405, 501])
    def test_head_where_only_get_is_taken(self, web: WebPeer, egress: Egress, status: int) -> None:
        web.serve("/x.tif", b"12345")
        web.fail("/x.tif", status=status)
        answer = egress.head(web.url("/x.tif"))
        assert (answer.size, answer.media_type) == (5, "image/tiff")
        web.fail("/x.tif", status=status, times=2)
        with pytest.raises(FetchError, match=str(status)):
            egress.head(web.url("/x.tif"))

    def test_text_that_was_packed_anyway(self, web: WebPeer, egress: Egress) -> None:
        web.serve("/x.json", gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})
        assert egress.get_bytes(web.url("/x.json"), 100) == b"{}"
        assert web.requests[0].headers["accept-encoding"] == "identity"

    @pytest.mark.parametrize("path", ["/a.tar.gz", "/a.tgz", "/a.SVGZ"])
    def test_archives_stay_packed(self, web: WebPeer, egress: Egress, path: str) -> None:
        packed = gzip.compress(b"archive")
        web.serve(path, packed, headers={"Content-Encoding": "gzip"})
        assert egress.get_bytes(web.url(path), 100) == packed

    def test_passwords_in_urls_are_refused(self, egress: Egress) -> None:
        with pytest.raises(EgressRefused, match="user name or password") as caught:
            egress.open("https://user:secret@example.org/")
        assert "secret" not in str(caught.value)
        assert shown("https://user:secret@example.org/a?token=secret#x") == "https://example.org/a?…"

    @pytest.mark.parametrize("url", ["http://", "http://[", "http://a:99999/", "http://exa\\mple/", "http://a\r\nb/"])
    def test_unusable_urls(self, egress: Egress, url: str) -> None:
        with pytest.raises((FetchError, EgressRefused)):
            egress.open(url)

    def test_nobody_there(self, egress: Egress) -> None:
        with socket.socket() as bound:  # bound and not listening: refused for sure
            bound.bind(("127.0.0.1", 0))
            with pytest.raises(FetchError, match="does not answer") as caught:
                egress.open(f"http://127.0.0.1:{bound.getsockname()[1]}/")
        assert caught.value.transient


class TestTls:
    def test_names_are_verified(self) -> None:
        with WebPeer(tls=True) as web:
            web.serve("/x", b"secure")
            with Egress(EgressPolicy(allow_networks=("127.0.0.0/8",), ca_file=web.ca_file)) as egress:
                assert egress.get_bytes(web.url("/x"), 10) == b"secure"
                with pytest.raises(FetchError, match="certificate"):
                    egress.open(web.url("/x", "127.0.0.1"))

    def test_unknown_authorities_are_refused(self) -> None:
        with WebPeer(tls=True) as web, Egress(LOOPBACK) as egress, pytest.raises(FetchError, match="certificate"):
            egress.open(web.serve("/x", b"x"))


class TestProxies:
    def test_environment_is_ignored(self, web: WebPeer, egress: Egress, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert egress.get_bytes(web.serve("/x", b"x"), 10) == b"x"

    def test_tls_goes_through_the_proxys_tunnel(self, web: WebPeer) -> None:
        with Egress(EgressPolicy(proxy=web.url("/"))) as egress, pytest.raises(FetchError, match="does not answer"):
            egress.open("https://name-only-the-proxy-knows.invalid/x")
        assert web.requests == []  # the peer knows no CONNECT; nobody was asked in the clear

    def test_policy_is_followed(self, web: WebPeer) -> None:
        policy = EgressPolicy(frozenset({"http"}), proxy=web.url("/"))
        with Egress(policy) as egress:
            with pytest.raises(FetchError, match="404"):
                egress.open("http://name-only-the-proxy-knows.invalid/x")
            with pytest.raises(EgressRefused):
                egress.open("http://10.0.0.1/x")
        assert len(web.requests) == 1


def test_policies_survive_json() -> None:
    assert EgressPolicy.from_json(LOOPBACK.to_json()) == LOOPBACK
    assert EgressPolicy.from_json({}) == EgressPolicy()
    for wrong in ({"allowNetworks": ["10.0.0.0/99"]}, {"schemes": ["file"]}):
        with pytest.raises(SetupError):
            EgressPolicy.from_json(wrong)


def test_import_is_light() -> None:
    """Staging forks and starts often: nothing heavy may come in."""
    program = (
        "import sys, broker.runner.stage; print([m for m in ('obstore', 'pydantic', 'cwltool') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_what_was_certainly_not_sent(web: WebPeer, egress: Egress) -> None:
    """No connection: nothing was. Behind a redirect, the first server has had it."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        web.serve("/onward", b"", status=307, headers={"Location": nobody})
        with pytest.raises(FetchError) as error:
            egress.request("POST", nobody, body=b"x")
        assert not error.value.sent
        with pytest.raises(FetchError) as error:
            egress.request("POST", web.url("/onward"), body=b"x")
        assert error.value.sent
        with pytest.raises(FetchError) as error:
            egress.request("POST", "http://nobody.invalid/", body=b"x")
        assert not error.value.sent
