"""Accounts of people at platforms: whose a job is given, and refresh tokens that are used by one at a time."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import insert, update

from broker.access.credential import Kind, Secret
from broker.access.principal import LOCAL, Principal
from broker.access.vault import KeyFile, Vault
from broker.errors import CredentialRefused, InputError, InputProblem, PlatformUnavailable, QuotaExceeded
from broker.execution import accounts, dispatch, placing
from broker.execution import credentials as verbs
from broker.execution.courtesy import Watched
from broker.jobs.model import Job, Limits, Needs
from broker.platform import Entered
from broker.storage.local import LocalStorage
from broker.store import budgets, credentials, jobs
from broker.store.account_tables import members
from broker.store.budgets import Budget
from broker.store.database import Database
from broker.store.tables import platforms as platforms_table
from tests.peers.scripted import ScriptedPlatform
from tests.unit.store.rows import PLATFORM, job_row, platform_row, process_row

AT = "https://openeo.example"
TOKEN = {"clientId": "broker", "refreshToken": "first"}


class Personal(ScriptedPlatform):
    accounts = None
    account_at = AT

    def __init__(self) -> None:
        super().__init__()
        self.logins: list[Entered] = []

    def tried(self, fields: object) -> str:
        return "It takes it."

    def entered(self, fields: object) -> Entered:
        return self.logins.pop(0)


class Office:
    def __init__(self, database: Database, tmp_path: Path) -> None:
        self.database = database
        self.vault = Vault(KeyFile(tmp_path / "secrets.key"))
        self.kept = accounts.Kept(database, lambda: self.vault)
        self.platform = Personal()
        self.offer = platform_row(database, cores=64.0)
        self.storage = LocalStorage(tmp_path / "files")
        process_row(database)

    def keep(self, who: Principal, name: str = "sky", at: str = AT, **fields: str) -> str:
        secret = Secret(Kind.OPENEO, at, fields or TOKEN)
        return verbs.keep(self.database, self.vault, who, name, secret)[0].id

    def dispatched(self, job: Job) -> Job:
        watched = Watched(self.platform, 10)
        dispatch.dispatch(self.database, watched, self.offer, self.storage, Limits(), "w", vault=self.vault)
        with self.database.read() as tx:
            return jobs.get(tx, job.id)


@pytest.fixture
def office(database: Database, tmp_path: Path) -> Office:
    return Office(database, tmp_path)


def person(database: Database, name: str) -> Principal:
    with database.write() as tx:
        tx.execute(insert(members).values(project="lab", person=name, part="member", since=0.0))
    return Principal(name, "lab", LOCAL.scopes)


def test_a_job_is_submitted_with_its_owners_account_and_remembers_it(office: Office) -> None:
    ann, bob = person(office.database, "ann"), person(office.database, "bob")
    office.keep(ann, "elsewhere", at="https://other.example")
    hers = office.keep(ann)
    job = office.dispatched(job_row(office.database, "ann", project="lab"))
    assert job.account == hers
    assert job.attempt_of().account == hers
    assert office.platform.specs[job.name].account == hers
    assert "broker" not in repr(office.platform.specs[job.name])
    theirs = office.dispatched(job_row(office.database, "bob", project="lab"))  # of the same project
    assert theirs.account is None
    with pytest.raises(InputError, match="private"):
        verbs.keep(office.database, office.vault, bob, "s", Secret(Kind.OPENEO, AT, TOKEN), shared="project")


def test_an_account_opens_for_its_place_only(office: Office) -> None:
    found = office.keep(LOCAL)
    opened = office.kept.opened(found, AT)
    assert opened is not None
    assert opened[1] == TOKEN
    assert office.kept.opened(found, "https://other.example") is None
    verbs.remove(office.database, LOCAL, "sky")
    assert office.kept.opened(found, AT) is None


def test_one_at_a_time_uses_a_refresh_token(office: Office) -> None:
    found = office.keep(LOCAL)
    with office.kept.renewing(found, AT) as (token, keep):
        assert token == "first"
        with pytest.raises(PlatformUnavailable) as busy, office.kept.renewing(found, AT):
            pass
        assert busy.value.personal
        keep("second")
    with office.kept.renewing(found, AT) as (token, keep):
        assert token == "second"
        office.keep(LOCAL, clientId="broker", refreshToken="of another login")
        keep("third")
    with office.kept.renewing(found, AT) as (token, _):
        assert token == "of another login"


def test_a_login_is_no_account_before_it_was_confirmed(office: Office) -> None:
    """Its steps are kept sealed; until then jobs run under the platform's account."""
    ann = person(office.database, "ann")
    waits = Entered({"clientId": "c", "deviceCode": "secret"}, "Confirm it.", {"code": "ABCD"})
    office.platform.logins = [waits, waits, Entered(TOKEN, "Account ann.")]

    def trial(secret: Secret, url: str | None) -> Entered:
        return office.platform.entered(secret.fields)

    begun = Secret(Kind.OPENEO, AT, {})
    with pytest.raises(InputError, match="cannot begin untried"):
        verbs.keep(office.database, office.vault, ann, "sky", begun)
    row, _, said = verbs.keep(office.database, office.vault, ann, "sky", begun, trial=trial)
    assert (row.tested, said) == (False, waits)
    row, _ = verbs.try_again(office.database, office.vault, ann, "sky", trial)
    assert not row.tested
    assert "secret" not in Secret(Kind.OPENEO, AT, waits.fields).scrubbed("it says secret")
    assert office.dispatched(job_row(office.database, owner="ann", project="lab")).account is None

    def late(secret: Secret, url: str | None) -> Entered:
        """Somebody else's look comes first, and the code is worth nothing then."""
        assert verbs.try_again(office.database, office.vault, ann, "sky", trial)[0].tested
        raise CredentialRefused(InputProblem("", "invalid_grant"))

    with pytest.raises(CredentialRefused):
        verbs.try_again(office.database, office.vault, ann, "sky", late)
    with office.database.read() as tx:
        assert credentials.get(tx, "sky", ann.reach).tested
    found = office.kept.opened(row.id, AT)
    assert found is not None
    assert found[1] == TOKEN
    assert office.dispatched(job_row(office.database, owner="ann", project="lab")).account == row.id


def test_who_pays_in_an_account_of_their_own_needs_no_budget(office: Office) -> None:
    """The project's is spent: its members' jobs do not go there, but hers do, unless her login was not confirmed."""
    office.offer = platform_row(office.database, cores=64.0, accounts_at=AT)
    ann, bob = person(office.database, "ann"), person(office.database, "bob")
    office.keep(ann)
    office.platform.logins = [Entered({"clientId": "c", "deviceCode": "secret"}, "Confirm it.", {"code": "ABCD"})]
    entering = Secret(Kind.OPENEO, AT, {})
    verbs.keep(office.database, office.vault, bob, "sky", entering, trial=lambda *_: office.platform.entered({}))
    with office.database.write() as tx:
        tx.execute(update(platforms_table).values(adapter="openeo"))
        budgets.put(tx, Budget("lab", PLATFORM, 0.0, None))
    with office.database.read() as tx:
        assert placing.placed(tx, Needs(), "lab", owner="ann").platform == PLATFORM
        with pytest.raises(QuotaExceeded):
            placing.placed(tx, Needs(), "lab", owner="cyd")
    theirs = office.dispatched(job_row(office.database, "bob", project="lab"))
    assert theirs.failure is not None
    assert "spent its budget" in theirs.failure.message
    hers = office.dispatched(job_row(office.database, "ann", project="lab"))
    assert (hers.failure, hers.account is not None) == (None, True)
