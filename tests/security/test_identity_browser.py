"""Logging in by browser: Chromium through a real provider, and what other sites and other people try."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from playwright.sync_api import Browser, BrowserContext, Page
from sqlalchemy import select, update

from broker.access.tokens import digest
from broker.api.browsers import csrf_of
from broker.api.login import local_path
from broker.store import people, tokens
from broker.store.account_tables import logins, sessions
from tests.api.conftest import MakeServer
from tests.api.schemas import valid_problem
from tests.peers.chromium import chromium
from tests.peers.oidc import PLAIN, forms
from tests.peers.web import WebPeer
from tests.security.identity import Known

pytestmark = pytest.mark.xdist_group("identity-browser")  # one API for all of them

COOKIE = "broker-session"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context()
    made.set_default_timeout(15_000)
    yield made
    made.close()


def log_in(page: Page, known: Known, who: str = "ada", target: str = "/projects") -> None:
    """What a person does."""
    page.goto(f"{known.server.url}/login?next={target}")
    page.get_by_role("link", name="Log in with").first.click()
    if page.locator("input[name=login]").count():
        page.fill("input[name=login]", who)
        page.fill("input[name=password]", "x")
        page.click("button[type=submit]")
    if not page.url.startswith(known.server.url):
        page.click("button[type=submit]")  # consent
    page.wait_for_url(f"{known.server.url}/**")


def session_of(context: BrowserContext) -> str:
    [found] = [one for one in context.cookies() if one["name"] == COOKIE]
    return found["value"]


class Visitor:
    """A browser in the hands of a test: cookies, and requests that say what a browser says."""

    def __init__(self, known: Known) -> None:
        self.known = known
        self.session = requests.Session()

    def get(self, path: str, **options: object) -> requests.Response:
        where = path if path.startswith("http") else self.known.server.url + path
        return self.session.get(where, timeout=30, **options)  # type: ignore[arg-type]

    def log_in(self, who: str = "ada", way: str = "/login/test?next=/me") -> requests.Response:
        return forms(self.session, self.known.server.url + way, who)

    @property
    def cookie(self) -> str:
        return str(self.session.cookies.get(COOKIE))

    def post(self, path: str, csrf: str | None = "right", **headers: str) -> int:
        """The status of a form like those of our pages; "-" leaves a header out."""
        known = {"Origin": self.known.server.url, "Sec-Fetch-Site": "same-origin"} | headers
        sent = {name: value for name, value in known.items() if value != "-"}
        fields = {} if csrf is None else {"csrf": csrf_of(self.cookie) if csrf == "right" else csrf}
        answer = self.session.post(
            self.known.server.url + path, data=fields, headers=sent, timeout=30, allow_redirects=False
        )
        return answer.status_code


@pytest.fixture
def visitor(known: Known) -> Visitor:
    return Visitor(known)


# ---- in Chromium


def test_login_and_logout_in_a_browser(known: Known, context: BrowserContext) -> None:
    page = context.new_page()
    log_in(page, known)
    assert page.url == f"{known.server.url}/projects"
    assert "Ada Lovelace" in page.inner_text("header")
    [cookie] = [one for one in context.cookies() if one["name"] == COOKIE]
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    assert page.evaluate("document.cookie") == ""
    with known.server.database.read() as tx:
        stored = tx.execute(select(sessions.c.hash)).scalars().all()
    assert digest(cookie["value"]) in stored
    assert cookie["value"] not in stored
    page.locator("header summary").click()
    page.get_by_role("button", name="Log out").click()
    page.wait_for_load_state()
    assert [one for one in context.cookies() if one["name"] == COOKIE] == []
    gone = requests.get(f"{known.server.url}/me", cookies={COOKIE: cookie["value"]}, timeout=10)
    assert gone.status_code == 401, "the session itself has ended, not only the cookie"
    ada = people.id_of(known.idp.url, "ada")
    assert [one["actor"] for one in known.audited("login")][-1] == ada
    assert [one["actor"] for one in known.audited("logout")][-1] == ada


def test_a_page_of_another_site_changes_nothing(known: Known, context: BrowserContext) -> None:
    """CSRF by a form and by a script, from another site in the same browser; and what it may read of the answers."""
    page = context.new_page()
    log_in(page, known)
    with WebPeer(host="127.0.0.1") as evil:
        # another port is the same site for cookies, so that they are sent; localhost is another site
        attack = f"""<form id=f method=post action="{known.server.url}/logout"><input name=csrf value=x></form>
        <script>f.submit()</script>"""
        evil.serve("/form", attack, media_type="text/html")
        page.goto(evil.url("/form"))
        page.wait_for_url(f"{known.server.url}/logout")
        assert requests.get(f"{known.server.url}/me", cookies={COOKIE: session_of(context)}, timeout=9).ok
        evil.serve("/script", "<title>x</title>", media_type="text/html")
        page.goto(evil.url("/script"))
        tried = page.evaluate(
            """async (url) => {
              const said = [];
              for (const [path, options] of [
                ["/tokens", {method: "POST", body: '{"name": "x"}', mode: "no-cors"}],
                ["/tokens", {method: "POST", body: '{"name": "x"}', headers: {"X-CSRF-Token": "x"}}],
                ["/me", {}],
              ]) {
                try {
                  const answer = await fetch(url + path, {credentials: "include", ...options});
                  said.push(answer.type + " " + answer.status);
                } catch (error) { said.push("refused"); }
              }
              return said;
            }""",
            known.server.url,
        )
        assert tried == ["opaque 0", "refused", "refused"]
    with known.server.database.read() as tx:
        assert [one for one in tokens.every(tx) if one.name == "x"] == []


# ---- sessions


def test_a_session_is_a_person_with_the_scopes_of_the_role(visitor: Visitor) -> None:
    answer = visitor.log_in("olga")
    assert answer.status_code == 200, answer.text
    assert answer.json()["name"] == "Olga"
    assert "admin" in answer.json()["scopes"]


def test_names_and_roles_come_from_userinfo_too(known: Known) -> None:
    """A client whose access tokens are for userinfo only, and which has no secret."""
    settings = known.idp.settings(client_id=PLAIN, client_secret=None)
    site = known.server.site
    old = site.settings.access.issuers["test"]
    new = old.model_validate(settings)
    site.settings.access.issuers["test"] = new
    try:
        visitor = Visitor(known)
        assert visitor.log_in("bob").json()["name"] == "Bob"
    finally:
        site.settings.access.issuers["test"] = old


def test_somebody_without_a_role_gets_no_session(visitor: Visitor) -> None:
    answer = visitor.log_in("eve")
    assert answer.status_code == 403
    assert "no role" in answer.text
    assert visitor.session.cookies.get(COOKIE) is None
    assert visitor.known.audited("login")[-1]["outcome"] == "refused"


def test_a_session_ends_by_age_and_by_idleness(visitor: Visitor) -> None:
    database = visitor.known.server.database
    for column, value in (("expires", 1.0), ("seen", 1.0)):
        visitor.log_in()
        assert visitor.get("/me").status_code == 200
        with database.write() as tx:
            row = sessions.c.hash == digest(visitor.cookie)
            tx.execute(update(sessions).where(row).values({column: value}))
        visitor.known.server.site.gate.forget()
        assert visitor.get("/me").status_code == 401


def test_a_session_that_somebody_planted_is_not_logged_in(visitor: Visitor) -> None:
    """Fixation: the value from before a login is worth nothing after it."""
    visitor.session.cookies.set(COOKIE, "planted", domain="127.0.0.1", path="/")
    assert visitor.log_in().status_code == 200
    values = {one.value for one in visitor.session.cookies if one.name == COOKIE}
    planted = requests.get(f"{visitor.known.server.url}/me", cookies={COOKIE: "planted"}, timeout=10)
    assert planted.status_code == 401
    assert values != {"planted"}


def test_a_new_login_ends_the_old_session(visitor: Visitor) -> None:
    visitor.log_in("ada")
    old = visitor.cookie
    visitor.log_in("ada")
    assert visitor.cookie != old
    answer = requests.get(f"{visitor.known.server.url}/me", cookies={COOKIE: old}, timeout=10)
    assert answer.status_code == 401


# ---- the way there and back


def test_the_request_has_pkce_state_and_nonce_and_one_place_to_come_back_to(visitor: Visitor) -> None:
    answer = visitor.get("/login/test?next=/projects", allow_redirects=False)
    assert answer.status_code == 303
    query = {name: value[0] for name, value in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    assert query["code_challenge_method"] == "S256"
    assert len(query["code_challenge"]) == 43
    assert query["redirect_uri"] == f"{visitor.known.server.url}/login/callback"
    assert min(len(query[name]) for name in ("state", "nonce")) >= 43
    with visitor.known.server.database.read() as tx:
        row = tx.execute(select(logins).where(logins.c.state == digest(query["state"]))).one()
    assert row.verifier not in answer.headers["location"]
    again = parse_qs(urlsplit(visitor.get("/login/test", allow_redirects=False).headers["location"]).query)
    assert again["state"][0] != query["state"]


def callback(visitor: Visitor, who: str = "ada") -> str:
    """Log in up to where the provider sends the browser back; the address."""
    return forms(visitor.session, visitor.known.server.url + "/login/test?next=/me", who, stop="/login/callback").url


def test_an_answer_is_good_once_and_in_the_browser_that_asked(known: Known) -> None:
    """Seen red: with a login that stays in the table, for then only the issuer refuses its code."""
    victim, attacker = Visitor(known), Visitor(known)
    theirs = callback(attacker, "bob")
    victim.get("/login/test", allow_redirects=False)  # has a login of its own under way
    assert victim.get(theirs).status_code == 401, "the attacker's answer logs nobody else in"
    assert victim.session.cookies.get(COOKIE) is None
    kept = attacker.session.cookies.copy()
    assert attacker.get(theirs).status_code == 200
    attacker.session.cookies.update(kept)
    replayed = attacker.get(theirs)
    assert replayed.status_code == 401, replayed.text
    assert "used before" in replayed.json()["detail"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (r"state=[^&]*", "state=other"),
        (r"&?state=[^&]*", ""),
        (r"code=[^&]*", "code=other"),
        (r"code=[^&]*", "error=access_denied"),
        (r"iss=[^&]*", "iss=https%3A%2F%2Fanother.example"),
        (r"&?iss=[^&]*", ""),
    ],
)
def test_answers_that_were_changed(known: Known, old: str, new: str) -> None:
    visitor = Visitor(known)
    changed, count = re.subn(old, new, callback(visitor))
    assert count == 1
    answer = visitor.get(changed)
    assert answer.status_code == 401
    assert visitor.session.cookies.get(COOKIE) is None


def test_a_code_needs_the_verifier_and_the_id_token_the_nonce(known: Known) -> None:
    for column in ("verifier", "nonce"):
        visitor = Visitor(known)
        back = callback(visitor)
        with known.server.database.write() as tx:
            tx.execute(update(logins).values({column: "another"}))
        assert visitor.get(back).status_code == 401
        assert visitor.session.cookies.get(COOKIE) is None


LOCAL = ["/", "/jobs?x=1&y=/z", "/projects/a#b", "/a//b", "/@evil.example"]
ELSEWHERE = [
    "https://evil.example/",
    "//evil.example",
    "///evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "javascript:alert(1)",
    "evil.example",
    "@evil.example",
    "",
    "http:evil.example",
    "/x\r\nSet-Cookie: a=b",
    "//[",
    "/" + "x" * 3000,
    "/ä",
]


def test_local_paths() -> None:
    assert [local_path(one) for one in LOCAL] == LOCAL
    assert [local_path(one) for one in [*ELSEWHERE, None]] == ["/"] * (len(ELSEWHERE) + 1)


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example", "@evil.example"])
def test_no_open_redirect(known: Known, target: str) -> None:
    visitor = Visitor(known)
    back = forms(visitor.session, f"{known.server.url}/login/test?next={target}", "ada", stop="/login/callback").url
    answer = visitor.get(back, allow_redirects=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{known.server.url}/"


def test_a_host_that_somebody_names_is_not_where_browsers_come_back_to(known: Known) -> None:
    answer = requests.get(
        f"{known.server.url}/login/test", headers={"Host": "evil.example"}, timeout=10, allow_redirects=False
    )
    assert answer.headers["location"].startswith(f"{known.server.url}/login/test")


def test_cookies_on_https(with_settings: MakeServer, known: Known) -> None:
    access = {"issuers": {"test": known.idp.settings()}}
    server = with_settings(url="https://broker.example.org", access=access)
    answer = server.get("/login/test", allow_redirects=False)
    query = parse_qs(urlsplit(answer.headers["location"]).query)
    assert query["redirect_uri"] == ["https://broker.example.org/login/callback"]
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-broker-login=")
    for attribute in ("Secure", "HttpOnly", "SameSite=lax", "Path=/"):
        assert attribute in cookie
    assert "Domain" not in cookie
    plain = server.get("/me", headers={"Cookie": f"{COOKIE}=x"})
    assert "session has ended" not in plain.text, "only the cookie that no plain connection can set is looked at"


# ---- CSRF


def test_what_a_page_of_ours_sends_works(visitor: Visitor) -> None:
    visitor.log_in()
    assert visitor.post("/logout") == 303


WRONG: dict[str, tuple[str | None, dict[str, str]]] = {
    "no token": (None, {}),
    "another token": ("x" * 64, {}),
    "empty token": ("", {}),
    "another origin": ("right", {"Origin": "https://evil.example"}),
    "no origin of its own": ("right", {"Origin": "null"}),
    "another port": ("right", {"Origin": "http://127.0.0.1:1"}),
    "another scheme": ("right", {"Origin": "https://127.0.0.1"}),
    "another site": ("right", {"Sec-Fetch-Site": "cross-site", "Origin": "-"}),
    "the same site": ("right", {"Sec-Fetch-Site": "same-site", "Origin": "-"}),
    "nothing said": ("right", {"Sec-Fetch-Site": "-", "Origin": "-"}),
    "a wrong header beside a right field": ("right", {"X-CSRF-Token": "x"}),
}


@pytest.mark.parametrize(("csrf", "headers"), WRONG.values(), ids=WRONG.keys())
def test_forged_requests(visitor: Visitor, csrf: str | None, headers: dict[str, str]) -> None:
    visitor.log_in()
    assert visitor.post("/logout", csrf, **headers) == 403
    assert visitor.get("/me").status_code == 200


def test_every_unsafe_method_needs_the_token(visitor: Visitor) -> None:
    visitor.log_in()
    for method, path in (
        ("POST", "/uploads"),
        ("PUT", "/processes/x"),
        ("DELETE", "/tokens/x"),
        ("PATCH", "/uploads/x"),
    ):
        answer = visitor.session.request(method, visitor.known.server.url + path, timeout=10)
        valid_problem(answer, 403)
    headers = {"Origin": visitor.known.server.url, "X-CSRF-Token": csrf_of(visitor.cookie)}
    made = visitor.session.post(visitor.known.server.url + "/tokens", json={"name": "page"}, headers=headers, timeout=9)
    assert made.status_code == 201, made.text


def test_a_bearer_needs_no_token_of_a_page(visitor: Visitor) -> None:
    """Nobody's browser sends an Authorization header by itself; a session beside it counts for nothing."""
    visitor.log_in("olga")
    headers = {"Authorization": f"Bearer {visitor.known.idp.token('bob')}"}
    made = visitor.session.post(visitor.known.server.url + "/tokens", json={"name": "b"}, headers=headers, timeout=9)
    assert made.json()["owner"] == people.id_of(visitor.known.idp.url, "bob")


def test_the_token_of_one_session_is_not_that_of_another(known: Known) -> None:
    one, other = Visitor(known), Visitor(known)
    one.log_in("ada")
    other.log_in("bob")
    assert one.post("/logout", csrf_of(other.cookie)) == 403


def test_pages_and_forms_agree(visitor: Visitor) -> None:
    """The token in the page is the one that the gate wants."""
    visitor.log_in()
    page = visitor.get("/projects", headers={"Accept": "text/html"}).text
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', page)
    assert found is not None
    assert visitor.post("/logout", found[1]) == 303


def test_who_is_not_logged_in_comes_back_to_the_page(known: Known, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(f"{known.server.url}/projects?limit=5")
    page.locator("main").get_by_role("link", name="Log in").click()
    page.get_by_role("link", name="Log in with").click()
    page.fill("input[name=login]", "bob")
    page.fill("input[name=password]", "x")
    page.click("button[type=submit]")
    page.click("button[type=submit]")
    page.wait_for_url(f"{known.server.url}/projects?limit=5")
    assert "Bob" in page.inner_text("header")


def test_logins_that_begin_and_begin_are_bounded(
    with_settings: MakeServer, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("broker.api.browsers.MOST_LOGINS", 5)
    server = with_settings(access={"issuers": {"test": known.idp.settings()}})
    seen = [server.get("/login/test", allow_redirects=False) for _ in range(8)]
    assert [one.status_code for one in seen] == [303] * 5 + [429] * 3
    assert int(seen[-1].headers["retry-after"]) > 0


def test_a_login_ends_in_another_process_than_it_began(known: Known) -> None:
    visitor = Visitor(known)
    back = callback(visitor)
    issued = known.server.site.gate.bearers.issued["test"]
    issued._metadata, issued._keys, issued._due = {}, (), 0.0
    assert visitor.get(back).status_code == 200
