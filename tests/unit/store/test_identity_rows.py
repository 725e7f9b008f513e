"""People, logins, sessions and tokens as rows, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import func, select, update

from broker.store import people, sessions, tokens
from broker.store.account_tables import logins
from broker.store.account_tables import people as people_table
from broker.store.account_tables import sessions as sessions_table
from broker.store.database import Database, new_id
from broker.store.sessions import Login

URL = "https://login.example.org"


def test_a_person_is_one_row_however_many_meet_at_once(database: Database) -> None:
    def meet(number: int) -> str:
        with database.write() as tx:
            return people.meet(tx, URL, "ada", name=f"Ada {number}", email="ada@example.org").id

    with ThreadPoolExecutor(4) as pool:
        ids = set(pool.map(meet, range(8)))
    assert ids == {people.id_of(URL, "ada")}
    with database.write() as tx:
        assert tx.execute(select(func.count()).select_from(people_table)).scalar() == 1
        again = people.meet(tx, URL, "ada", orcid="0000-0002-1825-0097")
        assert again.name.startswith("Ada")
        assert (again.email, again.orcid) == ("ada@example.org", "0000-0002-1825-0097")
        assert again.seen >= again.created
        assert people.meet(tx, URL, "nameless").name == "nameless"
        assert people.meet(tx, "https://other.example.org", "ada").id != again.id
        assert people.names(tx, [again.id, "nobody"]) == {again.id: again.name}
        assert people.get(tx, "nobody") is None


def test_a_login_is_ended_once_and_in_time(database: Database) -> None:
    begun = Login("test", "verifier", "nonce", "/jobs")
    with database.write() as tx:
        sessions.begin_login(tx, "state", begun)
        sessions.begin_login(tx, "late", begun)
        tx.execute(update(logins).where(logins.c.state == "late").values(expires=1.0))
        assert sessions.end_login(tx, "state") == begun
        assert sessions.end_login(tx, "state") is None
        assert sessions.end_login(tx, "late") is None
        sessions.begin_login(tx, "another", begun)
        assert tx.execute(select(logins.c.state)).scalars().all() == ["another"], "what came to nothing is dropped"


def test_a_session_ends_by_age_by_idleness_and_by_hand(database: Database) -> None:
    with database.write() as tx:
        person = people.meet(tx, URL, "ada", name="Ada")
        for name in ("one", "old", "idle"):
            sessions.add(tx, name, person.id, "test", ["run", "read"], 3600)
        at = sessions_table.c.hash
        tx.execute(update(sessions_table).where(at == "old").values(expires=1.0))
        tx.execute(update(sessions_table).where(at == "idle").values(seen=1.0))
        found = sessions.by_hash(tx, "one", 60)
        assert found is not None
        assert (found.person, found.issuer, found.scopes, found.name) == (person.id, "test", ("read", "run"), "Ada")
        assert sessions.by_hash(tx, "old", 60) is None
        assert sessions.by_hash(tx, "idle", 60) is None
        sessions.used(tx, "idle")
        assert sessions.by_hash(tx, "idle", 60) is not None
        assert sessions.end(tx, "one") == person.id
        assert sessions.end(tx, "one") is None
        assert sessions.by_hash(tx, "one", 60) is None


def test_tokens_take_along_what_they_made(database: Database) -> None:
    ids = [new_id() for _ in range(4)]
    with database.write() as tx:
        for number, (one, parent) in enumerate(zip(ids, [None, ids[0], ids[1], None], strict=True)):
            tokens.add(tx, one, f"hash-{number}", "ada", "ada", "x", ["read"], 100.0, parent=parent)
        last = tokens.get(tx, ids[3])
        assert last is not None
        assert 95 < tokens.left(tx, last) <= 100
        assert tokens.revoke(tx, ids[0])
        assert not tokens.revoke(tx, ids[1])
        assert [one.revoked is not None for one in tokens.every(tx, "ada")] == [True, True, True, False]
        assert tokens.every(tx, "bob") == []
        assert tokens.any_valid(tx)
        tokens.revoke(tx, ids[3])
        assert not tokens.any_valid(tx)
