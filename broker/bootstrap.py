"""Settings -> Broker: the one place that wires database, platforms, storage and egress together."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters import make_platform
from broker import settings as settings_of
from broker.access import credential
from broker.access.credential import Secret
from broker.access.principal import Principal, Scope
from broker.access.quota import Kind, Quota
from broker.access.vault import KeyFile, Vault
from broker.egress import Egress, EgressPolicy, git
from broker.errors import CredentialRefused, InputProblem, PackageError, PlatformError, SetupError
from broker.execution import notices
from broker.execution.courtesy import within
from broker.execution.deploy import deploy
from broker.execution.fleet import Fleet
from broker.execution.images import Images
from broker.execution.quotas import Ledger
from broker.execution.trials import door, tried
from broker.jobs.model import Limits
from broker.packages.appackage import deployment
from broker.packages.bundle import Bundle
from broker.packages.cwl import Inspection
from broker.packages.deployment import Deployment
from broker.packages.pack import MAX_ANSWER
from broker.packages.repository import MAX_BLOB
from broker.platform import Describing, Entered, Personal, Platform
from broker.runner.client import Zygote
from broker.settings import Settings
from broker.storage import Storage
from broker.storage.local import LocalStorage
from broker.storage.signing import S3Account
from broker.store import processes, tokens
from broker.store.database import Database, new_id

if TYPE_CHECKING:
    from broker.execution.experiments import Sources
    from broker.execution.publishdesk import Desk
    from broker.execution.publishers import Publishers

SYSTEM = Principal("system", "system", frozenset(Scope))
RESERVE = 256 * 2**20  # bytes left free for the database when it lives on the same disk as the files


@dataclass(frozen=True)
class Broker:
    """Everything that a process of the broker works with; parts are made when they are first used."""

    settings: Settings
    database: Database
    storage: Storage

    @cached_property
    def holder(self) -> str:
        """Who claims jobs: this process, and no other one ever."""
        return f"{socket.gethostname()}:{os.getpid()}:{new_id()}"

    @cached_property
    def fleet(self) -> Fleet:
        """The platforms of this process by full name; those of other hosts (`name@host`) are not among them."""

        def make(name: str, kind: str, options: Mapping[str, Any]) -> Platform:
            options = dict(options)
            if kind == "ogcapi" and self.settings.api.url:
                options["callbacks"] = notices.addresses(self.settings.public_url, lambda: self.vault)
            return _platform(name, kind, options, self.settings, self.shared)

        return Fleet(self.settings.platform_names(), self.database, lambda: self.vault, make)

    @cached_property
    def platforms(self) -> Mapping[str, Platform]:
        return self.fleet

    @cached_property
    def egress(self) -> Egress:
        """For addresses in packages: https, from the configured hosts."""
        return Egress(package_policy(self.settings))

    @cached_property
    def git_egress(self) -> Egress:
        """For commits of git repositories: https, from the hosts that packages may come from."""
        policy = package_policy(self.settings)
        return Egress(replace(policy, schemes=frozenset({"https"}), max_bytes=MAX_ANSWER, max_seconds=25.0))

    @cached_property
    def issuers_egress(self) -> Egress:
        return issuers_egress(self.settings)

    @cached_property
    def inquiries(self) -> Egress:
        """For short questions to what people hold credentials of, and to registries of images."""
        policy = input_policy(self.settings)
        return Egress(replace(policy, max_bytes=2**20, connect_timeout=5.0, read_timeout=10.0, max_seconds=15.0))

    @cached_property
    def callbacks_egress(self) -> Egress:
        return Egress(callback_policy(self.settings))

    @cached_property
    def vault(self) -> Vault:
        """Seals and opens credentials. Raises SetupError for a key in the environment that is none."""
        key = self.settings.secrets.key
        return Vault(KeyFile(self.settings.key_file)) if key is None else Vault.of_text(key.get_secret_value())

    @cached_property
    def publishers(self) -> Publishers:
        """Loaded only where somebody publishes: it brings the catalog's schemas."""
        from broker.execution.publishers import Publishers  # noqa: PLC0415 - heavy

        rules = self.settings.egress
        egress = Egress(input_policy(self.settings))
        ca_file = _text(rules.ca_file)
        return Publishers(self.settings.publish, self.database, self.vault, egress, self.quotas, ca_file=ca_file)

    @cached_property
    def desk(self) -> Desk:
        """What publishing works with, loaded as late."""
        from broker.execution.publishdesk import Desk  # noqa: PLC0415 - heavy

        home = self.settings.api.url and self.settings.public_url
        observe = 60.0 * self.settings.publish.observe_minutes
        egress = Egress(replace(input_policy(self.settings), max_seconds=60.0))
        return Desk(self.database, self.storage, self.publishers, egress, self.zygote.look, home, observe)

    @cached_property
    def sources(self) -> Sources:
        """Where experiments are looked up that somebody published."""
        from broker.execution.experiments import Sources  # noqa: PLC0415 - heavy

        policy = replace(input_policy(self.settings), max_bytes=MAX_ANSWER, max_seconds=25.0)
        return Sources(self.database, Egress(policy), lambda: self.publishers, self.read_package, self.images)

    @cached_property
    def images(self) -> Images:
        rules = self.settings.images
        return Images(rules.registries, rules.insecure, rules.pin, self.inquiries, self.database, self.vault)

    def try_credential(self, secret: Secret, url: str | None = None) -> str | Entered:
        """Use a credential once. Raises CredentialRefused, EgressRefused, FetchError."""
        if secret.kind is credential.Kind.OPENEO:
            return self._tried_account(secret)
        where = door(self.settings.publish, secret)
        return tried(self.inquiries, self.settings.images.insecure, secret, url, where)

    def _tried_account(self, secret: Secret) -> str | Entered:
        found = (self.fleet[name] for name in self.fleet)
        platform = next((one for one in found if isinstance(one, Personal) and one.account_at == secret.target), None)
        if platform is None:
            raise CredentialRefused(InputProblem("/origin", "there is no platform here that people have accounts at"))
        if "refreshToken" in secret.fields:
            raise CredentialRefused(InputProblem("", "a refresh token is tried by the first job that it is used for"))
        try:
            with within(self.database, platform.name):
                return platform.entered(secret.fields) if secret.entering else platform.tried(secret.fields)
        except PlatformError as error:
            hint = "Check it, or keep it without a trial: --no-test (over HTTP: ?test=false)."
            raise CredentialRefused(InputProblem("", secret.scrubbed(str(error))), hint=hint) from error

    def plain_host(self, host: str) -> bool:
        """Whether the operator lists a host or its address as one of the own network, where http may do."""
        rules = self.settings.egress
        try:
            address = ip_address(host)
        except ValueError:
            return any(host == name or (name[:1] == "." and host.endswith(name)) for name in rules.allow_hosts)
        return host in rules.allow_hosts or any(
            address in ip_network(net, strict=False) for net in rules.allow_networks
        )

    @cached_property
    def zygote(self) -> Zygote:
        return Zygote(self.settings.zygote_socket)

    @property
    def limits(self) -> Limits:
        bounds = self.settings.limits
        return Limits(
            bounds.job_seconds,
            bounds.output_bytes,
            bounds.output_files,
            disk_bytes=bounds.disk_bytes,
            disk_files=bounds.disk_files,
        )

    @cached_property
    def quotas(self) -> Ledger:
        """Who may have how much, as of a moment ago."""
        given = self.settings.quota
        return Ledger(self.database, {kind: Quota(**getattr(given, kind.value).model_dump()) for kind in Kind})

    def shared(self) -> bool:
        """Whether several people use this broker: there are tokens or issuers, so that everybody is asked who they
        are. Asks the database."""
        if self.settings.access.issuers:
            return True
        with self.database.read() as tx:
            return tokens.any_valid(tx)

    def inspect(self, bundle: Bundle) -> Inspection:
        """Load a package in a child of the zygote: it has no secrets, and no network. Raises PackageError."""
        return self.zygote.check(bundle.to_json())

    def read_package(self, body: bytes, media_type: str, process: str | None) -> tuple[Deployment, Inspection]:
        """What a deploy request holds, read in a child of the zygote; what it links to is fetched here, through
        egress. Raises PackageError (and its kinds), LimitError, EgressRefused."""

        def fetch(url: str) -> bytes:
            if (found := self._described_at(url)) is not None:
                return found
            return self.egress.get_bytes(url, self.settings.limits.document_bytes)

        def clone(repository: str, commit: str) -> bytes:
            return git.commit(self.git_egress, repository, commit, largest=MAX_BLOB, limit=MAX_ANSWER)

        return self.zygote.read(body, media_type, process, fetch, clone=clone, strangers=self.shared())

    def read_step(self, tool: bytes, documents: Mapping[str, str]) -> tuple[Deployment, Inspection]:
        """A step of a package, read like a package of its own: what it names is in the documents of the package.
        Raises PackageError (and its kinds), LimitError."""

        def fetch(url: str) -> bytes:
            if url not in documents:
                raise PackageError(f"The step names {url}, which was not read when its package was deployed.")
            return documents[url].encode()

        return self.zygote.read(tool, "application/cwl", None, fetch, strangers=self.shared())

    def _described_at(self, url: str) -> bytes | None:
        """The process at an address of one of the platforms, asked for with its account; None for other addresses.
        Raises as `Describing.describe`."""
        if "/processes/" not in url:  # no adapter is loaded for nothing
            return None
        for name in self.platforms:
            with suppress(SetupError):  # of a platform that is not configured right; its check says so
                platform = self.platforms[name]
                if isinstance(platform, Describing):
                    with within(self.database, name):
                        found = platform.describe(url)
                    if found is not None:
                        return found
        return None

    def install_builtin(self) -> None:
        """Deploy the processes that come with the broker: immutable, owned by the system, once per content."""
        package = builtin("echo") / "package.cwl"
        built_in = deployment(package.read_bytes(), "application/cwl", process=None, read=None)
        with self.database.write() as tx:
            known = processes.find(tx, "echo")
            if known is not None and known.digest == built_in.bundle.digest:
                return
            processes.retire(tx, "echo")  # an older release's, or somebody's
        deploy(self.database, SYSTEM, built_in, self.inspect, mutable=False, process_id="echo")


def builtin(name: str) -> Path:
    """The directory of a package that comes with the broker: inside the wheel, or beside the source."""
    inside = Path(__file__).parent / "workflows" / name
    return inside if inside.is_dir() else Path(__file__).parent.parent / "workflows" / name


def open_broker(settings: Settings) -> Broker:
    """Connect lazily: opening neither calls the database nor a platform."""
    return Broker(settings, Database(settings.database), _storage(settings))


def issuers_egress(settings: Settings) -> Egress:
    """To the issuers, whose addresses are the operator's: their answers are small, and requests wait for them."""
    return Egress(
        EgressPolicy(
            max_bytes=2**20,
            connect_timeout=3.0,
            read_timeout=5.0,
            max_seconds=15.0,
            ca_file=_text(settings.access.ca_file),
        )
    )


def package_policy(settings: Settings) -> EgressPolicy:
    """What documents of packages may reach at deploy time."""
    rules = settings.egress
    hosts = () if "*" in rules.package_hosts else rules.package_hosts
    schemes = frozenset({"https", "http"} if rules.allow_hosts or rules.allow_networks else {"https"})
    return EgressPolicy(
        schemes=schemes,
        allow_hosts=rules.allow_hosts,
        allow_networks=rules.allow_networks,
        only_hosts=hosts,
        max_bytes=settings.limits.document_bytes,
        ca_file=_text(rules.ca_file),
        connect_timeout=5.0,
        read_timeout=10.0,
        max_seconds=20.0,
    )


def callback_policy(settings: Settings) -> EgressPolicy:
    """Where subscribers may be: https, at public addresses and those that the operator opens (also by http)."""
    rules, seconds = settings.egress, settings.callbacks.answer_seconds
    return EgressPolicy(
        schemes=frozenset({"https", "http"} if rules.allow_hosts or rules.allow_networks else {"https"}),
        allow_hosts=rules.allow_hosts,
        allow_networks=rules.allow_networks,
        max_bytes=2**16,
        max_redirects=0,
        connect_timeout=min(5.0, seconds),
        read_timeout=seconds,
        max_seconds=seconds,
        ca_file=str(rules.ca_file) if rules.ca_file else None,
    )


def _platform(
    name: str, kind: str, options: dict[str, Any], settings: Settings, shared: Callable[[], bool]
) -> Platform:
    """A platform of a kind; a local one works in the state directory unless it is told otherwise."""
    if kind == "local":
        options.setdefault("root", settings.state / "local")
        options.setdefault("socket", settings.zygote_socket)
        options["shared"] = shared
        options.setdefault("insecure_registries", settings.images.insecure)
    if kind in ("local", "ogcapi", "openeo"):
        options.setdefault("egress", input_policy(settings).to_json())
    if kind in ("local", "ogcapi"):
        options.setdefault("s3", {name: _account(s3, s3.endpoint).to_json() for name, s3 in settings.s3.items()})
    platform: Platform = make_platform(kind, name, options)
    return platform


def input_policy(settings: Settings) -> EgressPolicy:
    """What inputs of jobs may be fetched from: http and https, any public host."""
    rules = settings.egress
    return EgressPolicy(
        schemes=frozenset({"http", "https"}),
        allow_hosts=rules.allow_hosts,
        allow_networks=rules.allow_networks,
        max_bytes=rules.max_bytes,
        ca_file=_text(rules.ca_file),
    )


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def _storage(settings: Settings) -> Storage:
    s3 = settings.storage.s3
    if s3 is None:
        return LocalStorage(settings.files, reserve=RESERVE)
    from broker.storage.s3 import S3Storage  # noqa: PLC0415 - 5 MB, where S3 is

    public = _account(s3, s3.public_endpoint) if s3.public_endpoint else None
    return S3Storage(_account(s3, s3.endpoint), s3.bucket, s3.prefix, public=public)


def _account(given: settings_of.S3Account, endpoint: str | None) -> S3Account:
    return S3Account(
        endpoint,
        given.region,
        given.access_key.get_secret_value() if given.access_key else None,
        given.secret_key.get_secret_value() if given.secret_key else None,
    )
