"""Where results are published: the targets that the operator offers, opened with the credentials of who publishes.

Loads what speaks to them (schemas of the catalog, S3): import it where it is used first, not at the start of a process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from sqlalchemy import Connection

from broker.access.credential import Kind, Secret
from broker.access.principal import LOCAL, Part, Principal, Scope
from broker.access.vault import Vault
from broker.egress import Egress
from broker.errors import InputError, InputProblem, TargetRefused, TargetUnavailable
from broker.execution.credentials import find
from broker.execution.publishpackage import PackageTarget
from broker.execution.quotas import Ledger
from broker.jobs.secrets import origin
from broker.results.catalog import CatalogTarget, GitTarget
from broker.results.configuration import (
    BundleCatalog,
    Catalog,
    GitCatalog,
    GitHubCatalog,
    PackageRepository,
    PrrRepository,
    Publishing,
    Repository,
    StacApiRepository,
)
from broker.results.github import GitHubTarget
from broker.results.prr import Place, Prr
from broker.results.restapi import basic
from broker.results.stacapi import StacApi
from broker.results.target import Finding, Target
from broker.results.tree import Tree
from broker.results.vocabulary import Vocabulary, vocabulary
from broker.storage.signing import S3Account
from broker.store import projects, publishing
from broker.store.database import Database

Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Offer:
    """A target as people see it. `kind`: prr | stac-api | prr-package (these take items), git | github | bundle (these
    take records); `collection`: where a request names none; `reads`: of a repository, the STAC API where its items are
    read; `home`: of a catalog, the address below which its files are read once they are live; the rest as in
    `broker.results.configuration.Destination`."""

    name: str
    kind: str
    title: str
    contact: str
    test: bool
    approval: bool
    promotes_to: str | None
    collection: str | None
    reads: str | None
    home: str | None

    @property
    def repository(self) -> bool:
        """Whether it takes items, not records."""
        return self.home is None


class Publishers:
    """`egress`: for addresses that the operator configured, and what they link to."""

    def __init__(
        self,
        settings: Publishing,
        database: Database,
        vault: Vault,
        egress: Egress,
        quotas: Ledger,
        *,
        ca_file: str | None = None,
    ) -> None:
        self._settings, self._database, self._vault, self._egress = settings, database, vault, egress
        self._quotas, self._ca_file = quotas, ca_file
        self._known: dict[str, tuple[float, Vocabulary]] = {}
        self._lock = Lock()

    # ---- what there is

    def offered(self) -> tuple[Offer, ...]:
        """All targets, in the operator's order."""
        return tuple(_offer(name, target) for name, target in self._settings.targets.items())

    def offer(self, name: str) -> Offer:
        """Raises InputError that names those there are."""
        return _offer(name, self._target(name))

    def defaults(self, project: str) -> Json:
        """Members of a request that nobody says otherwise: the operator's, over them the project's."""
        with self._database.read() as tx:
            return {**self._settings.defaults, **publishing.get(tx, project).request}

    def vocabulary(self, name: str, owner: str, project: str) -> Vocabulary:
        """What a catalog knows, as of some minutes ago. Raises InputError, TargetUnavailable, TargetRefused."""
        with self._lock:
            made, known = self._known.get(name, (0.0, None))
        if known is None or time.monotonic() > made + 60 * self._settings.vocabulary_minutes:
            known = self._reader(self._catalog(name), owner, project).read(vocabulary)
            with self._lock:
                self._known[name] = time.monotonic(), known
        return known

    def tree(self, name: str, owner: str, project: str, look: Callable[[Tree], T]) -> T:
        """What `look` sees in a catalog as it is. Raises InputError, TargetUnavailable, TargetRefused."""
        return self._reader(self._catalog(name), owner, project).read(look)

    # ---- with a credential

    def repository(
        self, name: str, owner: str, project: str, collection: str, document: Mapping[str, Any] | None = None
    ) -> Target:
        """A target of kind prr, stac-api or prr-package, to publish items in a collection of it as `owner` for
        `project`; `document`: of the collection, which a stac-api makes where it is not there.

        Raises InputError for a name of something else, TargetRefused without a credential.
        """
        target = self._target(name)
        match target:
            case PrrRepository():
                return self._prr(name, target, owner, project, collection)
            case StacApiRepository():
                secret = self._secret(owner, project, target)
                authorization = None if secret is None else secret.authorization
                return StacApi(self._egress, target.address, collection, authorization=authorization, document=document)
            case PackageRepository():
                return self._package(name, target, owner, project, collection)
        raise InputError(InputProblem("/target", f"{name} takes records, not items"))

    def catalog(self, name: str, owner: str, project: str, *, reading: bool = False) -> CatalogTarget:
        """A target of kind git, github or bundle. `reading`: only `plan` is called, which may do without a credential;
        of a bundle nothing else is.

        Raises InputError for a name of something else, TargetRefused without a credential where one is needed.
        """
        target = self._catalog(name)
        if reading or not isinstance(target, GitHubCatalog):
            return self._reader(target, owner, project)
        secret = self._secret(owner, project, target)
        if secret is None:
            raise _refused(name, target)
        return GitHubTarget(self._egress, target.repository, secret.fields["token"], base=target.base, api=target.api)

    def prerequisites(self, name: str, owner: str, project: str, collection: str | None = None) -> list[Finding]:
        """What is missing before `owner` can publish there for `project`, and who grants it; asks the target.

        Raises InputError for an unknown name.
        """
        target = self._target(name)
        collection = collection or _offer(name, target).collection
        try:
            if isinstance(target, Catalog):
                self.catalog(name, owner, project).live()
                return []
            repository = self.repository(name, owner, project, collection or "")
            if collection is not None:
                return repository.check()
            message = "is missing: the collection of the repository that the items go to"
            return [Finding("error", "collection", message, grants=target.contact)]
        except TargetRefused as refusal:
            return [Finding("error", "credential", str(refusal), grants=target.contact)]
        except TargetUnavailable as problem:
            return [Finding("warning", "target", f"{target.title or name} does not answer now: {problem.detail}")]

    # ---- who agrees

    def approvers(self, tx: Connection, owner: str, project: str) -> frozenset[str]:
        """The persons, besides operators, who may agree to what `owner` publishes for a project: its technical
        officers, who are named by operators; where it has none, its maintainers; never `owner`. In open mode, where
        there is one person, that one."""
        if owner == LOCAL.owner:
            return frozenset({owner})
        officers = publishing.get(tx, project).officers
        members = projects.members_of(tx, project)
        found = {one.person for one in members if (one.person in officers if officers else one.part is Part.MAINTAINER)}
        return frozenset(found - {owner})

    def may_approve(self, tx: Connection, principal: Principal, owner: str, project: str) -> bool:
        """Whether the principal may agree to what `owner` asked to publish for `project`."""
        return Scope.ADMIN in principal.scopes or principal.owner in self.approvers(tx, owner, project)

    # ---- parts

    def _target(self, name: str) -> Repository | Catalog:
        found = self._settings.targets.get(name)
        if found is None:
            names = ", ".join(self._settings.targets) or "none: the operator has configured none"
            raise InputError(InputProblem("/target", f"there is no target {name!r}; there are {names}"))
        return found

    def _catalog(self, name: str) -> Catalog:
        target = self._target(name)
        if not isinstance(target, Catalog):
            raise InputError(InputProblem("/target", f"{name} takes items, not records of a catalog"))
        return target

    def _reader(self, target: Catalog, owner: str, project: str) -> GitTarget:
        """The catalog as a git repository, with a credential where there is one."""
        secret = self._secret(owner, project, target)
        authorization = None
        if secret is not None:
            token = secret.kind is Kind.GITHUB
            authorization = basic("x-access-token", secret.fields["token"]) if token else secret.authorization
        return GitTarget(_remote(target), target.base, authorization=authorization, ca_file=self._ca_file)

    def _prr(self, name: str, target: PrrRepository, owner: str, project: str, collection: str) -> Target:
        secret = self._secret(owner, project, target)
        if secret is None or "password" not in secret.fields:
            raise _refused(name, target)
        user, password = secret.fields["username"], secret.fields["password"]
        place = Place(
            target.reg_api,
            target.stac,
            collection,
            user,
            password,
            S3Account(target.s3_endpoint, target.s3_region, user, password),
            target.bucket.replace("{user}", user),
        )
        return Prr(self._egress, place)

    def _package(
        self, name: str, target: PackageRepository, owner: str, project: str, collection: str
    ) -> PackageTarget:
        if self._secret(owner, project, target) is None:
            raise _refused(name, target)
        credential = _places(target)[0][1]
        quotas = self._quotas.now()
        return PackageTarget(
            self._database, quotas, self._egress, target.process, target.stac, credential, owner, project, collection
        )

    def _secret(self, owner: str, project: str, target: Repository | Catalog) -> Secret | None:
        """What opens a target to work of `owner` for a project, if they keep it."""
        with self._database.read() as tx:
            found = (find(tx, self._vault, owner, project, kind, place) for kind, place in _places(target))
            return next((secret for secret in found if secret is not None), None)


def _places(target: Repository | Catalog) -> tuple[tuple[Kind, str], ...]:
    """The credentials that open a target, in the order in which they are looked for."""
    match target:
        case PrrRepository():
            return ((Kind.PRR, _origin(target.reg_api)),)
        case PackageRepository():
            return ((Kind.PRR, _origin(target.stac)),)
        case StacApiRepository():
            return (Kind.PRR, _origin(target.address)), (Kind.HTTP, _origin(target.address))
        case GitHubCatalog():
            return ((Kind.GITHUB, f"{target.web.rstrip('/')}/{target.repository}"),)
        case GitCatalog() | BundleCatalog():
            return (Kind.GITHUB, target.remote.removesuffix(".git")), (Kind.HTTP, _origin(target.remote))


def _remote(target: Catalog) -> str:
    if isinstance(target, GitHubCatalog):
        return target.remote or f"{target.web.rstrip('/')}/{target.repository}.git"
    return target.remote


def _origin(url: str) -> str:
    return origin(url) or ""


def _refused(name: str, target: Repository | Catalog) -> TargetRefused:
    """That nothing is kept that opens a target, and how to keep it."""
    kind, place = _places(target)[0]
    token = kind is Kind.GITHUB
    rest = place.removeprefix("https://github.com/") if token else f"{place} --username NAME"
    return TargetRefused(
        f"You keep no credential for {target.title or name} ({place}).",
        hint=f"Ask {target.contact} for {'a token' if token else 'a user name and a password'}, then: "
        f"broker credential add {name} {kind} {rest}",
    )


def _offer(name: str, target: Repository | Catalog) -> Offer:
    return Offer(
        name,
        target.kind,
        target.title or name,
        target.contact,
        target.test,
        target.approval,
        target.promotes_to,
        None if isinstance(target, Catalog) else target.collection,
        _reads(target),
        target.home if isinstance(target, Catalog) else None,
    )


def _reads(target: Repository | Catalog) -> str | None:
    if isinstance(target, Catalog):
        return None
    return (target.address if isinstance(target, StacApiRepository) else target.stac).rstrip("/")
