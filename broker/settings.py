"""Settings of the broker: frozen, read once from `broker.toml` and the environment (BROKER_..., REDIS_URL).

The environment wins over the file. Nested names are joined by two underscores: BROKER_API__PORT=8081.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from platformdirs import user_config_path, user_state_path
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from broker.access.configuration import Access
from broker.errors import SetupError
from broker.results.configuration import Publishing

APP = "earthcode-broker"
LONGEST_RUN = 80  # bytes; leaves room for the names of sockets


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Api(Frozen):
    """The HTTP front end. `url`: the address that clients use, where it differs from host and port.

    `monitor_link`: whether answers of synchronous executions carry the Link to their job that the standard asks
    for; the official test suite (1.3) cannot read it, and needs it off.

    `connections`: open at a time; `connections_each`: of one client address (behind a proxy all have the proxy's).
    """

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    url: str | None = None
    title: str = "earthcode-broker"
    description: str = "Runs application packages of Earth scientists on many platforms."
    page: int = Field(100, ge=1, le=10_000)
    sync_seconds: float = Field(60.0, ge=0)
    cors_origins: tuple[str, ...] = ()
    monitor_link: bool = True
    connections: int = Field(4000, ge=16)
    connections_each: int = Field(500, ge=1)


class Worker(Frozen):
    """`slots`: threads that dispatch, observe and collect; none is held by a job while it runs."""

    slots: int = Field(2, ge=1)


class S3Account(Frozen):
    """How to reach buckets: `endpoint` without the bucket (None: AWS); without keys, requests are not signed."""

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None


class S3(S3Account):
    """The bucket for outputs and uploads. `public_endpoint`: where users reach it; files are then served by
    signed links to it, else through the API."""

    bucket: str
    prefix: str = ""
    public_endpoint: str | None = None


class StorageSettings(Frozen):
    """Where outputs and uploads are kept: a directory (default: `<state>/files`), or an S3 bucket."""

    root: Path | None = None
    s3: S3 | None = None


class Uploads(Frozen):
    """Bytes per upload, bytes per owner, and how long an upload lives."""

    max_bytes: int = 50 * 2**30
    quota_bytes: int = 200 * 2**30
    ttl_hours: float = 7 * 24.0


class LimitSettings(Frozen):
    """Bounds of documents and jobs: bytes, seconds. `disk_bytes`, `disk_files`: what a job may have on its platform's
    disk at one time while it runs, inputs not counted."""

    document_bytes: int = 8 * 2**20
    job_seconds: float = 24 * 3600.0
    output_bytes: int = 100 * 2**30
    output_files: int = 100_000
    disk_bytes: int = Field(500 * 2**30, ge=2**20)
    disk_files: int = Field(1_000_000, ge=100)


class QuotaOf(Frozen):
    """What each person (project, delegating platform) may have; None: as much as there is.

    Jobs that wait, jobs that run, core-hours a calendar month (UTC), bytes of results and uploads, runs of one
    scattered step. An operator may set others for one of them: PUT /quotas/{kind}/{subject}.
    """

    queued: int | None = Field(None, ge=0)
    running: int | None = Field(None, ge=0)
    cpu_hours: float | None = Field(None, ge=0)
    storage_bytes: int | None = Field(None, ge=0)
    scatter_width: int | None = Field(None, ge=0)


class QuotaSettings(Frozen):
    person: QuotaOf = QuotaOf()
    project: QuotaOf = QuotaOf()
    delegate: QuotaOf = QuotaOf()


class Rate(Frozen):
    """Requests, submissions and failed authentications a minute; None: as many as come.

    Counted for each person (and delegating platform), in open mode and for failures for each client address, in the
    memory of the API process.
    """

    requests: int | None = Field(None, ge=1)
    submissions: int | None = Field(None, ge=1)
    failures: int | None = Field(None, ge=1)


class Retention(Frozen):
    """Days until things are removed; None: never. They count from the end of the job; for idempotency keys from
    their first use, for logins (and sessions) and invitations from when they expire; for the reuse of results from when
    they were computed."""

    scratch_days: float = Field(0.0, ge=0)
    results_days: float | None = Field(None, ge=0)
    logs_days: float | None = Field(None, ge=0)
    jobs_days: float | None = Field(None, ge=0)
    idempotency_days: float | None = Field(7.0, ge=0)
    logins_days: float | None = Field(0.0, ge=0)
    invitations_days: float | None = Field(None, ge=0)
    reuse_days: float | None = Field(30.0, ge=0)


class EgressSettings(Frozen):
    """Addresses that users' documents may make the broker call.

    `allow_hosts` (names) and `allow_networks` (CIDR) open private addresses; public ones are open anyway.
    `package_hosts`: from where packages may be linked and import; "*" for any public host. `ca_file`: certificates to
    trust instead of the public authorities, for packages, inputs and callbacks.
    """

    allow_hosts: tuple[str, ...] = ()
    allow_networks: tuple[str, ...] = ()
    package_hosts: tuple[str, ...] = ("*",)
    max_bytes: int = 50 * 2**30
    ca_file: Path | None = None


class Callbacks(Frozen):
    """What subscribers of jobs are told. `answer_seconds`: they have for an answer; `retry_seconds`: until the second
    try, doubling from there to some hours; `hours`: after which a delivery is given up."""

    answer_seconds: float = Field(10.0, gt=0, le=60)
    retry_seconds: float = Field(5.0, gt=0)
    hours: float = Field(72.0, gt=0)


class Secrets(Frozen):
    """What encrypts the credentials of people and projects: a key file (default: `<state>/secrets.key`, made when the
    first credential is kept), or `key`, for the environment: one or more keys, the first encrypts."""

    key_file: Path | None = None
    key: SecretStr | None = None


class Images(Frozen):
    """Container images. `registries`: from where they may come: `host`, or `host/path` for what is below; "*": any.

    `insecure`: registries (`host:port`) that are asked by plain http, at whatever address. `pin`: whether tags are
    replaced by digests when a package is deployed.
    """

    registries: tuple[str, ...] = ("*",)
    insecure: tuple[str, ...] = ()
    pin: bool = True


class Map(Frozen):
    """What maps of results are drawn on: by default the coastlines that the broker brings, nothing from outside.

    `tiles`: address of a tile server with {z}, {x} and {y} (Web Mercator); browsers ask it for what they show.
    `attribution`: its name, which its licence mostly asks for.
    """

    tiles: str | None = Field(None, pattern=r"^https?://[^\s;,'\"]+$")
    attribution: str = ""


class Settings(BaseSettings):
    """Everything an operator can set. `s3`: accounts for inputs at s3://BUCKET/..., by bucket ("*": all others).

    `platforms`: name -> {adapter = "..." (default: the name), terms (`broker.jobs.terms`), and what the adapter takes}.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="BROKER_", env_nested_delimiter="__", toml_file=None
    )
    file: ClassVar[Path | None] = None

    state: Path = Field(default_factory=lambda: user_state_path(APP))
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    api: Api = Api()
    access: Access = Access()
    worker: Worker = Worker()
    storage: StorageSettings = StorageSettings()
    uploads: Uploads = Uploads()
    limits: LimitSettings = LimitSettings()
    quota: QuotaSettings = QuotaSettings()
    rate: Rate = Rate()
    retention: Retention = Retention()
    egress: EgressSettings = EgressSettings()
    callbacks: Callbacks = Callbacks()
    secrets: Secrets = Secrets()
    images: Images = Images()
    map: Map = Map()
    publish: Publishing = Publishing()
    s3: dict[str, S3Account] = Field(default_factory=dict)
    # its repr is left out: adapters have secrets of their own in there
    platforms: dict[str, dict[str, Any]] = Field(default_factory=lambda: {"local": {"adapter": "local"}}, repr=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, cls.file)

    @property
    def database(self) -> str:
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.state / 'broker.db'}"

    @property
    def redis(self) -> str:
        """The queue's URL: the given one, else the socket of the server that `broker up` starts."""
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        return f"redis+socket://{self.run / 'valkey.sock'}"

    @property
    def run(self) -> Path:
        """Sockets, pid and lock files of the running broker (mode 0700).

        A socket's path may hold at most 107 bytes, so a state directory with a long name gets a short one.
        """
        beside = self.state.absolute() / "run"
        if len(os.fsencode(beside)) <= LONGEST_RUN:
            return beside
        short = hashlib.sha256(os.fsencode(beside)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"{APP}-{os.getuid()}-{short}"

    @property
    def key_file(self) -> Path:
        return self.secrets.key_file or self.state / "secrets.key"

    @property
    def zygote_socket(self) -> Path:
        return self.run / "zygote.sock"

    @property
    def files(self) -> Path:
        return self.storage.root or self.state / "files"

    @property
    def public_url(self) -> str:
        """Without a trailing slash."""
        return (self.api.url or f"http://{self.api.host}:{self.api.port}").rstrip("/")

    def platform_names(self) -> dict[str, dict[str, Any]]:
        """Configured platforms by full name: a local platform belongs to its host (`local@host`)."""
        host = socket.gethostname()
        named = {name: {"adapter": name} | options for name, options in self.platforms.items()}
        return {f"{name}@{host}" if options["adapter"] == "local" else name: options for name, options in named.items()}


def default_file() -> Path:
    """Where `broker init` writes and everybody looks: $BROKER_CONFIG, ./broker.toml if there, else XDG."""
    named = os.environ.get("BROKER_CONFIG")
    if named:
        return Path(named)
    here = Path("broker.toml")
    return here.resolve() if here.is_file() else user_config_path(APP) / "broker.toml"


def load(file: Path | None = None) -> Settings:
    """Read the settings. Raises SetupError that names the setting, what is wrong with it, and the file."""
    path = file or default_file()
    if file is not None and not file.is_file():
        raise SetupError(f"There is no configuration file {file}.", hint=f"Make one with: broker init --config {file}")

    class FromFile(Settings):
        pass

    FromFile.file = path if path.is_file() else None
    if os.environ.get("REDIS_URL") and "BROKER_REDIS_URL" not in os.environ:
        os.environ["BROKER_REDIS_URL"] = os.environ["REDIS_URL"]
    try:
        return FromFile()
    except ValidationError as error:
        lines = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise SetupError(f"The configuration is not valid ({path} and BROKER_... variables): {lines}") from None
    except ValueError as error:  # not TOML
        raise SetupError(f"{path} is not valid TOML: {error}") from None
