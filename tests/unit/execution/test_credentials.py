"""What a job is given of credentials when it is dispatched: for what its person asked to be fetched, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from broker.access.credential import Kind, Secret
from broker.access.principal import LOCAL, Principal
from broker.access.vault import KeyFile, Vault
from broker.egress import Egress
from broker.errors import QuotaExceeded
from broker.execution import credentials as verbs
from broker.execution import dispatch
from broker.execution.credentials import Wanted
from broker.execution.images import Images
from broker.jobs.model import Job, JobSpec, Limits, Needs, Phase, StageItem
from broker.jobs.secrets import Released
from broker.storage.local import LocalStorage
from broker.store.account_tables import audit, credentials, members
from broker.store.database import Database
from tests.peers.scripted import ScriptedPlatform
from tests.unit.store.rows import job_row, platform_row, process_row

CANARY = "canary"
S3 = Secret(Kind.S3, "s3://scenes", {"accessKey": "AK", "secretKey": CANARY, "endpoint": "https://s3.example"})
HTTP = Secret(Kind.HTTP, "https://data.example", {"token": CANARY})
GHCR = Secret(Kind.REGISTRY, "ghcr.io", {"username": "me", "password": CANARY})
PRR = Secret(Kind.PRR, "https://prr.example", {"token": CANARY})


class Office:
    """A database with credentials, and a platform that keeps the specs that it is given."""

    def __init__(self, database: Database, tmp_path: Path) -> None:
        self.database = database
        self.vault = Vault(KeyFile(tmp_path / "secrets.key"))
        self.storage = LocalStorage(tmp_path / "files")
        self.platform = ScriptedPlatform()
        self.offer = platform_row(database, cores=64.0, container_engine="podman")
        process_row(database)

    @property
    def specs(self) -> list[JobSpec]:
        """What the platform was given, in turn."""
        return list(self.platform.specs.values())

    def keep(self, principal: Principal, *secrets: Secret, shared: str = "private") -> None:
        for secret in secrets:
            verbs.keep(self.database, self.vault, principal, secret.kind.value, secret, shared=shared)

    def dispatched(self, job: Job, registries: tuple[str, ...] = ("*",)) -> Job:
        images = Images(registries, (), True, Egress(), self.database, self.vault)
        done = dispatch.dispatch(
            self.database, self.platform, self.offer, self.storage, Limits(), "w", vault=self.vault, images=images
        )
        assert done is not None
        assert done.id == job.id
        return done

    def released(self, stage: Sequence[StageItem] = (), image: str | None = None, owner: str = "local") -> Released:
        needs = Needs(images={image: False} if image else {})
        project = "lab" if owner != "local" else owner
        self.dispatched(job_row(self.database, owner, project=project, stage=tuple(stage), needs=needs))
        return self.specs[-1].secrets


@pytest.fixture
def office(database: Database, tmp_path: Path) -> Office:
    return Office(database, tmp_path)


ITEMS = {
    "http": StageItem("a/x", "https://data.example/deep/x?y"),
    "s3": StageItem("b/x", "s3://scenes/x"),
    "elsewhere": StageItem("c/x", "https://other.example/x"),
    "value": StageItem("d/x", text="https://data.example/x"),
}


def given(released: Released) -> tuple[list[str], list[str], list[str]]:
    return sorted(released.s3), sorted(released.http), sorted(released.registries)


@pytest.mark.parametrize(
    ("stage", "image", "expected"),
    [
        ((), None, ([], [], [])),
        ((ITEMS["elsewhere"], ITEMS["value"]), "debian", ([], [], [])),
        ((ITEMS["http"],), None, ([], ["https://data.example"], [])),
        ((ITEMS["s3"],), "ghcr.io/me/tool:1", (["scenes"], [], ["ghcr.io"])),
        (
            (StageItem("a", "https://other.example/i.json", stac=True),),
            None,
            (["scenes"], ["https://data.example"], []),
        ),
        ((StageItem("a", "https://data.example/x", packaged=True),), None, ([], [], [])),
        ((StageItem("a", "s3://scenes/x", packaged=True),), None, ([], [], [])),
        ((StageItem("a", "https://data.example/x", trusted=True),), None, ([], [], [])),
        ((StageItem("a", directory=True),), None, ([], [], [])),
        ((StageItem("a", "https://data.example.evil.example/x"),), None, ([], [], [])),
        ((StageItem("a", "https://data.example\\@evil.example/x"),), None, ([], [], [])),
        ((StageItem("a", "http://data.example/x"), StageItem("b", "https://data.example:8443/x")), None, ([], [], [])),
    ],
)
def test_what_a_job_is_given(
    office: Office, stage: tuple[StageItem, ...], image: str | None, expected: tuple[list[str], list[str], list[str]]
) -> None:
    office.keep(LOCAL, S3, HTTP, GHCR, PRR)
    assert given(office.released(stage, image)) == expected


def test_it_is_written_down_without_the_secret(office: Office) -> None:
    office.keep(LOCAL, HTTP, S3)
    released = office.released([ITEMS["http"]])
    assert released.http == {"https://data.example": f"Bearer {CANARY}"}
    with office.database.read() as tx:
        last = tx.execute(select(audit).order_by(audit.c.id.desc())).mappings().first()
        used = {row.kind: row.used for row in tx.execute(select(credentials.c.kind, credentials.c.used))}
    assert last is not None
    assert (last["action"], last["actor"]) == ("use-credential", "local")
    assert set(last["data"]) == {"job", "target"}
    assert CANARY not in str(dict(last))
    assert used["http"] is not None
    assert used["s3"] is None


def test_a_project_gives_to_its_members_jobs(office: Office) -> None:
    with office.database.write() as tx:
        for person in ("alice", "mate"):
            tx.execute(insert(members).values(project="lab", person=person, part="member", since=0.0))
    alice = Principal("alice", "lab", LOCAL.scopes)
    office.keep(alice, HTTP, shared="project")
    office.keep(alice, S3)
    stage = list(ITEMS.values())
    assert given(office.released(stage, owner="mate")) == ([], ["https://data.example"], [])
    assert given(office.released(stage, owner="stranger")) == ([], [], [])
    assert given(office.released(stage, owner="alice"))[0] == ["scenes"]


def test_rules_of_now_count_for_packages_of_before(office: Office) -> None:
    job = job_row(office.database, needs=Needs(images={"ghcr.io/me/tool:1": True}))
    done = office.dispatched(job, registries=("docker.io",))
    assert done.phase is Phase.FAILED
    assert done.failure is not None
    assert "takes none from there" in done.failure.message
    assert office.specs == []


def test_a_row_that_was_changed_is_not_released(office: Office) -> None:
    """Somebody with the database, and not the key, gives a row to themselves."""
    office.keep(LOCAL, HTTP)
    with office.database.write() as tx:
        tx.execute(credentials.update().values(owner="thief"))
    job = job_row(office.database, "thief", stage=(ITEMS["http"],))
    done = office.dispatched(job)
    assert done.phase is not Phase.SUBMITTED
    assert office.specs == []


def test_there_are_not_endlessly_many(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verbs, "MOST", 2)
    office.keep(LOCAL, HTTP, S3)
    office.keep(LOCAL, HTTP)  # one that is there may be replaced
    with pytest.raises(QuotaExceeded):
        office.keep(LOCAL, GHCR)


def test_nothing_is_asked_where_nothing_is_needed() -> None:
    assert Wanted.of([ITEMS["value"]], []).kinds == []
    assert Wanted.of([ITEMS["elsewhere"]], ["not an image"]).kinds == ["http"]
