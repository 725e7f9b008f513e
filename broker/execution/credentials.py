"""Credentials of people and projects: kept, tried, removed; and released to what a job has to fetch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import orjson
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from broker.access.credential import Kind, Secret, name_of
from broker.access.principal import Principal, Scope
from broker.access.vault import Vault
from broker.errors import Conflict, InputError, InputProblem, NoSuchCredential, PackageError, QuotaExceeded
from broker.execution import callbacksecret, operate
from broker.execution.trials import Trial, account
from broker.jobs.model import Job, StageItem
from broker.jobs.secrets import Released, origin
from broker.packages.images import Reference
from broker.platform import Entered
from broker.store import audit, credentials
from broker.store.credentials import Credential, Sealed
from broker.store.database import Database, new_id
from broker.store.visible import PRIVATE, PROJECT

MOST = 200  # of one person


def keep(
    database: Database,
    vault: Vault,
    principal: Principal,
    name: str,
    secret: Secret,
    *,
    shared: str | None = None,
    trial: Trial | None = None,
    url: str | None = None,
) -> tuple[Credential, bool, str | Entered | None]:
    """Make or replace a credential: the row, whether it is new, what the other side said of it (None: not tried).

    `shared`: private, or project for that of the principal; None: as it was. Raises InputError, CredentialRefused and
    what egress raises (nothing is kept then), Forbidden, QuotaExceeded.
    """
    principal.need(Scope.RUN)
    with database.read() as tx:
        _row(tx, principal, name, secret, shared)  # before the other side is asked: what cannot be kept is not tried
    if trial is None and secret.entering:
        raise InputError(InputProblem("", "a password or a refreshToken is missing: a login cannot begin untried"))
    said = trial(secret, url) if trial else None
    taken = said is not None
    if isinstance(said, Entered):
        secret, taken = replace(secret, fields=said.fields), said.login is None
    try:
        with database.write() as tx:
            row, new = _row(tx, principal, name, secret, shared)
            row = replace(row, tested=taken)
            credentials.put(tx, row, vault.seal(orjson.dumps(dict(secret.fields)), row.bond))
            what = {"name": row.name, "kind": row.kind, "target": row.target, "shared": row.shared, "new": new}
            audit.record(tx, audit.entry(principal, "keep-credential", f"credential/{row.id}", **what))
            return credentials.get(tx, row.id, principal.reach), new, said
    except IntegrityError:
        raise Conflict(f"Another request has just made the credential {name!r}.", hint="Send yours again.") from None


def _row(
    tx: Connection, principal: Principal, name: str, secret: Secret, shared: str | None
) -> tuple[Credential, bool]:
    """The row to write, and whether there was none. Raises Forbidden, InputError, QuotaExceeded."""
    try:
        old = credentials.get_to_change(tx, name, principal.reach)
        new = False
    except NoSuchCredential:
        if len(credentials.page(tx, replace(principal.reach, everything=False))) >= MOST:
            raise QuotaExceeded(f"There are {MOST} credentials already.", hint="Remove some first.") from None
        row_id, me = new_id(), principal
        old = Credential(
            row_id, me.owner, me.project, PRIVATE, name_of(name), secret.kind, secret.target, False, 0.0, 0.0, None
        )
        new = True
    project = old.project
    if secret.kind is Kind.OPENEO and (shared or old.shared) == PROJECT:
        raise InputError(InputProblem("/shared", "an account of a person on a platform is private"))
    if shared == PROJECT and (new or old.shared == PRIVATE or principal.project != old.project):
        project = principal.project
        if not credentials.may_share(tx, principal.owner, project):
            hint = "Name a project that you are a member of: Acting-Project (broker credential add --project ID)."
            raise InputError(InputProblem("/shared", "only members of a project share with it"), hint=hint)
    row = replace(old, kind=secret.kind.value, target=secret.target, shared=shared or old.shared, project=project)
    return row, new


def remove(database: Database, principal: Principal, name: str) -> None:
    """Raises NoSuchCredential, Forbidden."""
    principal.need(Scope.RUN)
    with database.write() as tx:
        row = credentials.get_to_change(tx, name, principal.reach)
        credentials.remove(tx, row)
        what = {"name": row.name, "kind": row.kind, "target": row.target}
        audit.record(tx, audit.entry(principal, "remove-credential", f"credential/{row.id}", **what))


def try_again(
    database: Database, vault: Vault, principal: Principal, name: str, trial: Trial, url: str | None = None
) -> tuple[Credential, str | Entered]:
    """Try what is kept, or go on with a login that is waited for. Whoever may use it may try it.

    Raises NoSuchCredential, CredentialRefused.
    """
    principal.need(Scope.RUN)
    with database.read() as tx:
        row = credentials.get(tx, name, principal.reach)
        usable = credentials.usable(tx, principal.owner, row.project, [row.kind])
        if not any(one.row.id == row.id for one in usable):
            raise NoSuchCredential(f"There is no credential {name!r} that you may use.")
        sealed = credentials.sealed(tx, row)
        secret = _opened(vault, row, sealed)
    outcome = False
    try:
        said = trial(secret, url)
        outcome = not isinstance(said, Entered) or said.login is None
        if isinstance(said, Entered) and said.fields != secret.fields:
            old, sealed = sealed, vault.seal(orjson.dumps(dict(said.fields)), row.bond)
            with database.write() as tx:
                credentials.reseal(tx, row, old, sealed)
    finally:
        with database.write() as tx:
            credentials.tested(tx, row, sealed, outcome)
            subject = f"credential/{row.id}"
            audit.record(tx, audit.entry(principal, "test-credential", subject, name=row.name, taken=outcome))
    return replace(row, tested=outcome), said


def rotate(database: Database, vault: Vault, principal: Principal) -> int:
    """Seal everything with the key that is the first now; how many rows were not. Raises SetupError."""
    count = 0
    with database.read() as tx:
        rows = credentials.every(tx)
    for one in rows:
        if vault.newest(one.sealed):
            continue
        again = vault.seal(vault.open(one.sealed, one.row.bond), one.row.bond)
        with database.write() as tx:
            count += credentials.reseal(tx, one.row, one.sealed, again)
    count += callbacksecret.reseal(database, vault) + operate.reseal(database, vault)
    with database.write() as tx:
        audit.record(tx, audit.entry(principal, "rotate-credentials", "credentials", resealed=count))
    return count


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job has to fetch: buckets (`s3://name`), origins, hosts of registries. `anything`: a STAC document is
    among it, whose assets may lie anywhere."""

    buckets: frozenset[str]
    origins: frozenset[str]
    registries: frozenset[str]
    anything: bool

    @classmethod
    def of(cls, stage: Iterable[StageItem], images: Iterable[str]) -> Wanted:
        """Nothing for what the package itself names to be fetched (its defaults): the person did not ask for that."""
        given = [item for item in stage if not item.packaged and not item.trusted]
        urls = [item.url for item in given if item.url is not None]
        return cls(
            frozenset("s3://" + url[5:].partition("/")[0] for url in urls if url.lower().startswith("s3://")),
            frozenset(found for url in urls if (found := origin(url))),
            frozenset(host for image in images if (host := _host(image))),
            any(item.stac or (item.directory and item.url) for item in given),
        )

    @property
    def kinds(self) -> list[str]:
        wanted = {
            Kind.S3: self.buckets or self.anything,
            Kind.HTTP: self.origins or self.anything,
            Kind.REGISTRY: self.registries,
        }
        return [kind.value for kind, needed in wanted.items() if needed]

    def has(self, row: Credential) -> bool:
        if row.kind == Kind.REGISTRY:
            return row.target in self.registries
        return self.anything or row.target in (self.buckets if row.kind == Kind.S3 else self.origins)


def release(tx: Connection, vault: Vault, job: Job, wanted: Wanted) -> tuple[Released, tuple[Credential, ...]]:
    """The credentials of the job's owner and its project for what the job has to fetch, opened; and their rows.

    Raises SetupError for what cannot be opened.
    """
    released = Released({}, {}, {})
    if not (kinds := wanted.kinds):
        return released, ()
    chosen: dict[tuple[str, str], Sealed] = {}
    for one in credentials.usable(tx, job.owner, job.project, kinds):
        if wanted.has(one.row):
            chosen.setdefault((one.row.kind, one.row.target), one)
    s3, http, registries = {}, {}, {}
    for one in chosen.values():
        secret = _opened(vault, one.row, one.sealed)
        if secret.kind is Kind.S3:
            s3[secret.target.removeprefix("s3://")] = account(secret).to_json()
        elif secret.kind is Kind.HTTP:
            http[secret.target] = secret.authorization
        else:
            registries[secret.target] = {name: secret.fields[name] for name in ("username", "password")}
    return Released(s3, http, registries), tuple(one.row for one in chosen.values())


def note(tx: Connection, job: Job, rows: Sequence[Credential]) -> None:
    """Write down what a job was given."""
    credentials.used(tx, [row.id for row in rows])
    audit.record(
        tx,
        *(
            audit.Entry(
                actor=job.owner,
                project=job.project,
                action="use-credential",
                subject=f"credential/{row.id}",
                delegate=job.delegate,
                data={"job": job.id, "target": row.target},
            )
            for row in rows
        ),
    )


def find(tx: Connection, vault: Vault, owner: str, project: str, kind: Kind, target: str) -> Secret | None:
    """The credential for one target that work of `owner` in `project` may use, opened; None where there is none."""
    found = find_row(tx, vault, owner, project, kind, target)
    return None if found is None else found[1]


def find_row(
    tx: Connection, vault: Vault, owner: str, project: str, kind: Kind, target: str
) -> tuple[Credential, Secret] | None:
    """The same, with its row."""
    for one in credentials.usable(tx, owner, project, [kind.value]):
        if one.row.target == target:
            return one.row, _opened(vault, one.row, one.sealed)
    return None


def _opened(vault: Vault, row: Credential, sealed: bytes) -> Secret:
    return Secret(Kind(row.kind), row.target, orjson.loads(vault.open(sealed, row.bond)))


def _host(image: str) -> str | None:
    try:
        return Reference.parse(image).host
    except PackageError:
        return None
