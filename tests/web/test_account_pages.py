"""The forms of tokens, credentials, uploads and quotas, and the page of the audit, as browsers send them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from broker.access.credential import FIELDS, Kind
from broker.access.principal import Scope
from broker.api.credentialpages import FORMS
from broker.bootstrap import Broker
from broker.platform import Entered
from tests.api.accounts import ACCESS, Account, account, browser
from tests.api.conftest import MakeServer
from tests.api.server import Server

SECRETS = {"token": "tok-5f0c1e", "password": "pass-5f0c1e", "secretKey": "key-5f0c1e", "sessionToken": "ses-5f0c1e"}
TARGETS = {"bucket": "scenes", "origin": "https://data.example", "host": "ghcr.io", "repository": "esa/catalog"}
SECRETS["refreshToken"] = "ref-5f0c1e"
BROWSER = {"Accept": "text/html"}


@pytest.fixture
def site(with_settings: MakeServer) -> Server:
    return with_settings(access=ACCESS)


@pytest.fixture
def anna(site: Server) -> Account:
    return browser(site, "a", "Anna")


@pytest.fixture
def olga(site: Server) -> Account:
    return browser(site, "o", "Olga", *(one.value for one in Scope))


def alerts(answer: Any) -> str:
    """What the page says is wrong."""
    found = re.search(r'role="alert">(.*?)</div>', answer.text, re.DOTALL)
    assert found, answer.text
    return re.sub(r"<[^>]+>|\s+", " ", found[1])


# ---- callbacks


def test_the_secret_of_callbacks_is_shown_and_changed(anna: Account) -> None:
    old = anna("GET", "/callbacks/secret").json()["secret"]
    assert old in anna.page("/callbacks/secret")
    assert anna("POST", "/callbacks/secret", data={"csrf": "wrong"}).status_code == 403
    done = anna.form("/callbacks/secret")
    assert (done.status_code, done.headers["location"]) == (303, f"{anna.server.url}/callbacks/secret?f=html")
    found = anna("GET", "/callbacks/secret").json()
    assert found["before"] == old != found["secret"]
    page = anna.page("/callbacks/secret")
    assert (found["secret"] in page, old in page) == (True, True)
    assert "/callbacks/secret" in anna.page("/tokens")


# ---- tokens


def test_a_token_is_shown_once_and_works(anna: Account) -> None:
    made = anna.form("/tokens", name="script", days="2.5", **{"scope-read": "on"})
    assert (made.status_code, made.headers["cache-control"]) == (201, "no-store")
    [secret] = re.findall(r"eb_[\w-]+", made.text)
    assert secret not in anna.page("/tokens")
    bearer = {"Authorization": f"Bearer {secret}"}
    assert anna.server.get("/jobs", headers=bearer).status_code == 200
    [token] = anna("GET", "/tokens").json()["tokens"]
    assert (token["name"], token["scopes"]) == ("script", ["read"])
    done = anna.form(f"/tokens/{token['id']}")
    assert (done.status_code, done.headers["location"]) == (303, f"{anna.server.url}/tokens?f=html")
    assert anna.server.get("/jobs", headers=bearer).status_code == 401
    assert "1 has ended" in anna.page("/tokens")


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"name": "", "days": "1", "scope-read": "on"}, "Name"),
        ({"name": "x", "days": "1"}, "at least one scope"),
        ({"name": "x", "days": "many", "scope-read": "on"}, "Days"),
        ({"name": "x", "days": "nan", "scope-read": "on"}, "Days"),
        ({"name": "x", "days": "9999", "scope-read": "on"}, "Days"),
        ({"name": "x", "days": "1", "scope-admin": "on"}, "a scope that you do not have"),
        ({"name": "x", "days": "1", "scope-read": "on", "project": "none"}, "do not work in it"),
    ],
)
def test_what_is_wrong_with_a_token_is_said_beside_what_was_typed(
    anna: Account, fields: dict[str, str], wrong: str
) -> None:
    answer = anna.form("/tokens", **fields)
    assert answer.status_code in (400, 403)
    assert wrong in alerts(answer)
    if fields["name"]:
        assert 'name="name" type="text" maxlength="100" value="x"' in answer.text
    assert anna("GET", "/tokens").json()["tokens"] == []


def test_who_is_not_asked_who_they_are_makes_no_token(lone: Server) -> None:
    text = lone.get("/tokens", headers=BROWSER).text
    assert "broker token create NAME" in text
    assert "Make the token" not in text
    answer = lone.post("/tokens", data={"name": "x", "days": "1", "scope-read": "on"}, headers=BROWSER)
    assert answer.status_code == 403


# ---- credentials


def test_the_forms_have_all_that_a_credential_has() -> None:
    for kind, (subject, secret, others) in FIELDS.items():
        shown = {one.name for one in FORMS[kind]} - {"test"}
        lacking = {"token"} if kind is Kind.REGISTRY else set()  # a token is sent as the password
        assert shown == {subject} | secret | others - lacking if not lacking else shown | lacking
        assert {one.name for one in FORMS[kind] if one.secret} == secret - lacking


def filled(kind: Kind) -> dict[str, str]:
    """A form of this kind in which everything is filled in."""
    subject, secret, others = FIELDS[kind]
    usual = {"endpoint": "https://s3.example", "region": "eu", "accessKey": "AKIA5F0C1E", "username": "me-5f0c1e"}
    usual |= {"clientId": "client", "provider": "test"}
    names = {one.name for one in FORMS[kind]}
    given = (
        {subject: TARGETS[subject]} | {name: SECRETS[name] for name in secret} | {name: usual[name] for name in others}
    )
    return {"kind": kind.value, "name": "mine"} | {name: value for name, value in given.items() if name in names}


def told(text: str) -> list[str]:
    """What of the secrets is in a text."""
    return [value for value in (*SECRETS.values(), "AKIA5F0C1E", "akia5f0c1e", "me-5f0c1e") if value in text]


def test_a_login_at_a_platform_shows_its_code_until_it_was_confirmed(
    anna: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = {"address": "https://id.example/?a=<b>", "code": "ABCD-EFGH", "interval": 5.0, "expires": 2e9}
    steps = [
        Entered({"deviceCode": "dev-5f0c1e"}, "Open it.", login),
        Entered({"deviceCode": "dev-5f0c1e"}, "Open it.", login),
        Entered({"refreshToken": "ref-5f0c1e"}, "Account ada, 3 credits left."),
    ]
    monkeypatch.setattr(Broker, "try_credential", lambda self, secret, url=None: steps.pop(0))
    begun = anna.form("/credentials", kind="openeo", name="mine", origin="https://sky.example", **{"try": "on"})
    assert begun.status_code == 200
    place = re.search(r'action="(/credentials/[^"]+)"', begun.text)
    assert place is not None
    for answer in (begun, anna.form(place[1], do="test")):
        assert "ABCD-EFGH" in answer.text
        assert 'href="https://id.example/?a=&lt;b&gt;"' in answer.text
        assert "not tried" in answer.text
    done = anna.form(place[1], do="test")
    assert "Account ada, 3 credits left." in done.text
    assert "5f0c1e" not in begun.text + answer.text + done.text


@pytest.mark.parametrize("kind", Kind)
def test_secrets_that_are_typed_never_come_back(anna: Account, kind: Kind) -> None:
    fields = filled(kind)
    if kind in (Kind.HTTP, Kind.PRR):
        del fields["token"]  # it has a password
    fields.pop("refreshToken", None)
    wrong = [
        fields | {"name": "no name"},
        fields | {"kind": "nothing"},
        fields | {FORMS[kind][0].name: "http://169.254.169.254/x y"},
        fields | {"name": SECRETS["token"].upper()},
        fields | {FORMS[kind][0].name: SECRETS["token"] + "!"},
        fields | {"project": "none"},
        {name: value for name, value in fields.items() if name not in SECRETS or name == "sessionToken"},
    ]
    for one in wrong:
        answer = anna.form("/credentials", **one)
        assert answer.status_code in (400, 403, 404), answer.text
        assert told(answer.text.lower() + str(answer.headers)) == []
        assert alerts(answer)
    assert anna("GET", "/credentials").json()["credentials"] == []
    kept = anna.form("/credentials", **fields)
    assert kept.status_code == 303, kept.text
    assert told(str(kept.headers)) == []
    place = kept.headers["location"]
    for path in (place, "/credentials", "/credentials?replace=" + place.rpartition("/")[2].partition("?")[0], "/audit"):
        text = anna.page(path)
        assert told(text) == []
        assert "mine" in text or path == "/audit"
    assert told(anna.page(f"/credentials?f=html&kind={kind}&token={SECRETS['token']}&name={SECRETS['token']}")) == []


def test_a_link_says_nothing_of_where_a_secret_goes(anna: Account) -> None:
    text = anna.page("/credentials?kind=s3&bucket=evil&endpoint=https://evil.example&name=evil")
    assert "evil" not in re.sub(r'href="[^"]*"', "", text)


def test_a_credential_is_tried_and_one_that_is_refused_is_not_kept(anna: Account) -> None:
    fields = filled(Kind.PRR) | {"try": "on", "origin": "https://prr.invalid"}
    answer = anna.form("/credentials", **fields)
    assert 400 <= answer.status_code < 600
    assert told(answer.text) == []
    assert anna("GET", "/credentials").json()["credentials"] == []


def test_a_credential_is_shared_with_a_project_replaced_and_removed(anna: Account) -> None:
    anna.form("/projects", id="water", title="Water")
    fields = filled(Kind.GITHUB) | {"project": "water"}
    place = anna.form("/credentials", **fields).headers["location"]
    assert "members of the project" in anna.page(place)
    [row] = anna("GET", "/credentials").json()["credentials"]
    assert (row["shared"], row["project"], row["target"]) == ("project", "water", "https://github.com/esa/catalog")
    again = anna.form("/credentials", **fields | {"token": "another"})
    assert again.headers["location"] == place
    bert = browser(anna.server, "b", "Bert")
    assert bert.form("/credentials", **fields | {"name": "his"}).status_code in (400, 403, 404)
    path = place.removeprefix(anna.server.url).partition("?")[0]
    assert bert.form(path, do="remove").status_code == 404
    assert anna.form(path, do="nothing").status_code == 400
    assert anna.form(path, do="remove").headers["location"].endswith("/credentials?f=html")
    assert anna("GET", "/credentials").json()["credentials"] == []


# ---- uploads


def sent(who: Account, *parts: tuple[str, str | None, bytes], csrf: str | None = None) -> Any:
    """A form with files as a browser sends it."""
    boundary = "----WebKitFormBoundary5f0c1e"
    body = b""
    for name, file, content in (("csrf", None, (who.csrf if csrf is None else csrf).encode()), *parts):
        filename = "" if file is None else f'; filename="{file}"\r\nContent-Type: image/tiff'
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'
        body += head.encode() + content + b"\r\n"
    headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Origin": who.server.url, **BROWSER}
    return who("POST", "/uploads", data=body + f"--{boundary}--\r\n".encode(), headers=headers)


def test_a_file_is_uploaded_used_and_deleted_by_form(anna: Account) -> None:
    done = sent(anna, ("file", "a <b>.tif", b"\r\n--x\r\n" * 1000))
    assert done.status_code == 303, done.text
    path = done.headers["location"].removeprefix(anna.server.url).partition("?")[0]
    found = anna("GET", path).json()
    assert (found["name"], found["size"], found["type"], found["complete"]) == ("a <b>.tif", 7000, "image/tiff", True)
    text = anna.page(path)
    assert "a &lt;b&gt;.tif" in text
    assert f"{anna.server.url}{path}</code>" in text
    assert "a &lt;b&gt;.tif" in anna.page("/uploads")
    assert browser(anna.server, "b", "Bert").form(path, do="delete").status_code == 404
    assert anna.form(path, do="other").status_code == 400
    assert anna.form(path, do="delete").headers["location"].endswith("/uploads?f=html")
    assert anna("GET", path).status_code == 404


def test_a_program_sends_the_same_form(site: Server) -> None:
    """`curl -F file=@scene.tif`: without what only browsers need."""
    ada = account(site, "ada")
    made = ada("POST", "/uploads", files={"file": ("scene.tif", b"II*", "image/tiff")})
    assert made.status_code == 201, made.text
    assert (made.json()["name"], made.json()["size"], made.json()["complete"]) == ("scene.tif", 3, True)
    assert ada("GET", made.headers["location"]).json() == made.json()
    refused = ada("POST", "/uploads", files={"note": (None, "no file")})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, "/file")


def test_what_is_no_upload_leaves_nothing(anna: Account) -> None:
    for answer, status in (
        (sent(anna, ("file", "", b"")), 400),
        (sent(anna), 400),
        (sent(anna, ("file", "a.tif", b"x"), csrf="wrong"), 403),
        (sent(anna, ("file", "..", b"x")), 400),
    ):
        assert answer.status_code == status, answer.text
    assert "choose a file" in alerts(sent(anna, ("file", "", b"")))
    assert anna("GET", "/uploads").json()["uploads"] == []


# ---- quotas, by an operator


def test_an_operator_sets_and_unsets_a_quota(anna: Account, olga: Account) -> None:
    done = olga.form("/quotas", kind="person", subject=anna.id, running="3", cpu_hours="1.5", queued="")
    assert done.headers["location"] == f"{olga.server.url}/quotas/person/{anna.id}?f=html"
    path = f"/quotas/person/{anna.id}"
    assert olga("GET", path).json()["limits"] == {"running": 3, "cpu_hours": 1.5}
    assert 'value="1.5"' in olga.page(path)
    assert olga.form(path, do="set", running="4").status_code == 303
    assert olga("GET", path).json()["limits"] == {"running": 4}
    assert anna.id in olga.page("/quotas")
    assert olga.form(path, do="unset").status_code == 303
    assert olga("GET", path).json()["limits"] == {}
    said = [one["action"] for one in olga("GET", "/audit").json()["entries"]]
    assert said == ["set-quota", "set-quota", "unset-quota"]
    for path, fields in (("/quotas", {"kind": "person", "subject": "x"}), (f"/quotas/person/{anna.id}", {"do": "set"})):
        assert anna.form(path, **fields).status_code == 403
        assert anna("GET", path, headers=BROWSER).status_code == 403


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"subject": "x", "running": "many"}, "Jobs that run"),
        ({"subject": "x", "running": "-1"}, "Jobs that run"),
        ({"subject": "x", "running": "1.5"}, "Jobs that run"),
        ({"subject": "", "running": "1"}, "Id"),
        ({"subject": "a/b", "running": "1"}, "Id"),
        ({"subject": "x", "kind": "nobody", "running": "1"}, "Whose"),
    ],
)
def test_what_is_no_quota(olga: Account, fields: dict[str, str], wrong: str) -> None:
    answer = olga.form("/quotas", **{"kind": "person"} | fields)
    assert answer.status_code == 400
    assert wrong.casefold() in alerts(answer).casefold()
    assert olga("GET", "/quotas").json()["quotas"] == []
    if wrong == "Jobs that run":
        assert olga.form("/quotas/person/x", do="set", running=fields["running"]).status_code == 400


# ---- the audit


def test_the_audit_shows_each_their_own_and_operators_all_newest_first(anna: Account, olga: Account) -> None:
    for name in ("one", "two"):
        anna.form("/projects", id=f"water-{name}", title="Water")
    hers = anna.page("/audit")
    assert hers.index("water-two") < hers.index("water-one")
    assert "Anna" in hers
    assert "Olga" not in hers
    assert "water-one" in olga.page("/audit")
    assert "There is no such entry" in olga.page("/audit?action=fly")
    assert "water-one" not in anna.page("/audit?limit=1")
    [following] = re.findall(r'href="([^"]+)" rel="next"', anna.page("/audit?limit=1"))
    assert "water-one" in anna.page(following.replace("&amp;", "&"))
    first = anna("GET", "/audit?limit=1").json()["entries"][0]["subject"]
    newest = anna("GET", "/audit?limit=1&newest=true").json()["entries"][0]["subject"]
    assert (first, newest) == ("project/water-one", "project/water-two")


def test_a_wrong_filter_is_said_beside_it(anna: Account) -> None:
    answer = anna("GET", "/audit?since=yesterday&action=deploy", headers=BROWSER)
    assert answer.status_code == 400
    assert "Since" in alerts(answer)
    assert 'value="deploy"' in answer.text
    assert anna("GET", "/audit?since=yesterday").status_code == 400
