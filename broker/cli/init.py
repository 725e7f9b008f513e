"""`broker init`: a broker.toml that explains itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from broker.cli.console import AsJson, ConfigFile, command, note, put_json
from broker.errors import SetupError
from broker.settings import default_file

app = typer.Typer()

TEMPLATE = """\
# Settings of earthcode-broker. Every line that is commented out shows the default, or an example.
# The environment wins over this file: BROKER_API__PORT=8081 is [api] port = 8081.

# Where the broker keeps its database, jobs and files. Default: the user's state directory.
# state = "/var/lib/earthcode-broker"

# The database. Default: SQLite in the state directory. PostgreSQL for more than one machine:
# database_url = "postgresql://broker:secret@db.example.org/broker"

# The queue (Valkey or Redis). Default: `broker up` starts one of its own, on a socket.
# redis_url = "redis://localhost:6379/0"

[api]
# Other addresses than loopback need a token first: broker token create NAME
# host = "127.0.0.1"
# port = 8080
# The address that clients use, where a proxy stands before the broker:
# url = "https://broker.example.org"
# title = "earthcode-broker"
# description = "Runs application packages of Earth scientists on many platforms."
# Items of one page of a list:
# page = 100
# Seconds that a synchronous execution may take before it goes on as a job:
# sync_seconds = 60.0
# Web pages of these origins may use the API from a browser:
# cors_origins = ["https://portal.example.org"]
# Off only for the OGC test suite 1.3, which cannot read the link:
# monitor_link = true
# Connections open at a time, in all and of one client address (behind a proxy all have the proxy's address):
# connections = 4000
# connections_each = 500

[access]
# Hours of a browser's session, and without a request; days that a token may live that a person makes:
# session_hours = 12.0
# idle_hours = 2.0
# token_days = 366.0
# Certificates to trust for the issuers, in the place of the usual ones:
# ca_file = "/etc/ssl/certs/our-ca.pem"

# Whose tokens count besides those of `broker token create`: OpenID Connect issuers, as many as you like. With one,
# everybody is asked who they are.
# [access.issuers.example]
# Exactly the `iss` of its tokens, and what their `aud` must hold:
# url = "https://login.example.org/realms/science"
# audience = ["urn:broker"]
# title = "Example Science Login"
# Signatures and `typ` headers that its access tokens may have (Keycloak: types = ["JWT"]):
# algorithms = ["RS256", "PS256", "ES256", "EdDSA"]
# types = ["at+jwt", "application/at+jwt"]
# The broker's client for logins by browser (it comes back to <url of the broker>/login/callback), and a public client
# with the device grant for `broker login`:
# client_id = "broker"
# client_secret = "..."
# cli_client_id = "broker-cli"
# scopes = ["openid", "profile", "email"]
# What its authorization requests need besides:
# parameters = { resource = "urn:broker" }
# Values of the roles claim -> scientist, publisher or operator; without default_role all others are refused:
# roles = { "earthcode-scientists" = "scientist", "earthcode-operators" = "operator" }
# default_role = "scientist"
# Seconds that clocks may differ by:
# leeway = 30.0
# Where its tokens say what; dots lead into objects:
# claims = { subject = "sub", name = "name", email = "email", orcid = "orcid", roles = "realm_access.roles" }

# Platforms that may act for people (headers Acting-For: issuer:subject, and Acting-Project). Who they are: issuer and
# client (client credentials), issuer and subject, or owner of a token of this broker.
# [access.delegates.portal]
# issuer = "example"
# client = "portal"
# people = ["example:*"]
# projects = ["flood-*"]
# scopes = ["read", "run"]

[worker]
# Processes that hand jobs to platforms and bring results back. They hold no job while it runs.
# slots = 2

[storage]
# Where uploads and results are kept. Default: "files" in the state directory.
# root = "/data/broker/files"

# Or a bucket:
# [storage.s3]
# bucket = "results"
# endpoint = "https://s3.example.org"
# region = "us-east-1"
# prefix = "broker"
# access_key = "..."
# secret_key = "..."

[uploads]
# Bytes of one upload, bytes of one owner, and hours until an upload is removed.
# max_bytes = 53687091200
# quota_bytes = 214748364800
# ttl_hours = 168.0

[limits]
# Bytes of a request or package, seconds of a job, bytes and number of its output files; what it may have on its
# platform's disk at one time while it runs (never the last GiB of it): bytes, number of files and directories.
# document_bytes = 8388608
# job_seconds = 86400.0
# output_bytes = 107374182400
# output_files = 100000
# disk_bytes = 536870912000
# disk_files = 1000000

# Quotas of each person, of each project, and of each platform that acts for people. Unset: as much as there is.
# One of them gets others with: broker quota set person ID --running 8
[quota.person]
# Jobs that wait, jobs that run at one time:
# queued = 200
# running = 8
# Cores that jobs asked for, times the hours they held them, in a calendar month (UTC):
# cpu_hours = 500.0
# Bytes of results and uploads:
# storage_bytes = 107374182400
# Runs of one scattered step:
# scatter_width = 1000

[quota.project]
# queued = 1000
# running = 32
# cpu_hours = 5000.0
# storage_bytes = 1099511627776

[quota.delegate]
# queued = 5000

[rate]
# Requests, submissions of jobs and failed authentications a minute: of each person, of each address for those that
# nobody knows. Every API process counts for itself. Unset: as many as come.
# requests = 600
# submissions = 60
# failures = 10

[retention]
# Days until things are deleted. Unset: never. What a publication still needs is kept. Sooner for one person or
# project: broker quota set project ID --results-days 7
# What an ended job left on its platform; 0: at once:
# scratch_days = 0.0
# Results, logs, and jobs with all that is theirs, after the job has ended:
# results_days = 90.0
# logs_days = 90.0
# jobs_days = 365.0
# Keys of repeated requests; logins and sessions, and invitations, after they expire:
# idempotency_days = 7.0
# logins_days = 0.0
# invitations_days = 30.0
# For how long results may be used again where their owner allows it, after they were computed:
# reuse_days = 30.0

[egress]
# Links of users are fetched from public addresses only. These private ones are allowed as well:
# allow_hosts = ["data.intranet.example.org"]
# allow_networks = ["10.1.0.0/16"]
# From where packages may be linked, import and be cloned (git); "*" is any public host:
# package_hosts = ["*"]
# Certificates to trust instead of the public authorities (PEM), where hosts have an authority of their own:
# ca_file = "/etc/ssl/certs/intranet.pem"
# max_bytes = 53687091200

[callbacks]
# What the subscribers of jobs are told (docs/callbacks.md). They have so long for an answer:
# answer_seconds = 10.0
# Until the second try, doubling from there up to 4 hours; and in all, until it is given up:
# retry_seconds = 5.0
# hours = 72.0

[secrets]
# What encrypts the credentials of people and projects. Default: "secrets.key" in the state directory, made when the
# first one is kept. Several machines on one database need the same file: keep a copy of it apart from the database's.
# key_file = "/etc/earthcode-broker/secrets.key"
# Or the key itself, 32 bytes in base64 (several: the first one encrypts), best in the environment, not in this file:
# key = "..."

[images]
# From where container images may come; "*" is any registry. Where several people use the broker, name yours:
# registries = ["docker.io", "ghcr.io/your-organisation"]
# Registries that are asked by plain http:
# insecure = ["registry.intranet.example.org:5000"]
# Whether deploying a package replaces tags by digests, so that its jobs run the same image for ever:
# pin = true

[map]
# What maps of results are drawn on. Default: coastlines that the broker brings, so that browsers ask nobody else.
# A tile server (Web Mercator), and the name that its licence asks to show:
# tiles = "https://tiles.example.org/{z}/{x}/{y}.png"
# attribution = "(c) Example"

[publish]
# How often the broker looks what became of a proposal (minutes), and how long what a catalog knows (projects, themes,
# variables, missions) is not asked for again:
# observe_minutes = 5.0
# vocabulary_minutes = 10.0
# Members of every request to publish that nobody says otherwise (each project can set its own):
# [publish.defaults]
# licence = "CC-BY-4.0"
# Where results are published: [publish.targets.NAME]. People keep credentials for these: broker credential add.
# A results repository with reg-api, such as ESA's PRR; {user} is the user name of the credential:
# [publish.targets.prr]
# kind = "prr"
# title = "ESA Project Results Repository"
# reg_api = "https://eoresults.esa.int/reg-api"
# stac = "https://eoresults.esa.int/stac"
# s3_endpoint = "https://eoresults.esa.int"
# bucket = "sg-{user}-generic"
# A STAC API with transactions, for items whose data lies elsewhere:
# [publish.targets.stac]
# kind = "stac-api"
# address = "https://stac.example.org"
# The repository's own application package, deployed here as a process:
# [publish.targets.package]
# kind = "prr-package"
# process = "prr-package"
# stac = "https://eoresults.esa.int/stac"
# The catalog's test repository; what is merged there can be promoted to the live one, where somebody has to agree:
# [publish.targets.osc_test]
# kind = "github"
# repository = "ESA-EarthCODE/open-science-catalog-metadata-testing"
# test = true
# promotes_to = "osc"
# [publish.targets.osc]
# kind = "github"
# repository = "ESA-EarthCODE/open-science-catalog-metadata"
# approval = true
# Any other git repository, and a zip file for who proposes by hand:
# [publish.targets.ours]
# kind = "git"
# remote = "https://git.example.org/catalog.git"
# base = "main"
# [publish.targets.zip]
# kind = "bundle"
# remote = "https://github.com/ESA-EarthCODE/open-science-catalog-metadata.git"

# Where jobs run: [platforms.NAME]. Without any, the broker runs them on this machine.
[platforms.local]
adapter = "local"
# What all jobs together may use. Default: every core, 80 % of the memory.
# cores = 4
# ram_mib = 8192
# auto: images in containers, all else in bubblewrap. process: no protection at all, for development only.
# isolation = "auto"
# Container engine: auto, podman, docker, apptainer (needs an ordinary user) or none.
# engine = "auto"
# Software for tools without an image (virtual environments, for instance), read-only, first on their PATH:
# software = ["/opt/eo"]
# Whether tools that ask for the network get it. Without this: only where one person uses the broker. A tool in
# bubblewrap shares the machine's network, its loopback included; one in a container of podman or docker does not.
# network = true
# Processes and threads that one job may have at a time:
# processes = 4096
# For how long, and how much of, what steps gave is kept where its owner allows that later jobs use it again:
# replay_days = 30.0
# replay_bytes = 21474836480
# What you say of a platform, of whatever kind: a title, for which projects it is (default: all), data that lie near it,
# types of data that it takes, jobs at a time, requests a second that it may be sent, calls at a time of each worker,
# and prices of a core-hour, of a GiB-hour of memory and of a job.
# [platforms.local.terms]
# title = "Our own machine"
# projects = ["ice", "water"]
# near = ["https://data.example.org/sentinel", "s3://scenes"]
# data_types = ["image/tiff", "application/x-netcdf"]
# slots = 8
# requests = 10.0
# calls = 3
# core_hour = 0.02
# gib_hour = 0.005
# job = 0.0
# currency = "EUR"
"""


@app.command()
@command
def init(
    config: ConfigFile = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a broker.toml with every setting explained.

    The broker needs no configuration file; write one to change something.

    Example:

        broker init --config broker.toml
    """
    file = config or default_file()
    write(file, force=force)
    if as_json:
        put_json({"file": str(file.absolute())})
    else:
        note(f"Wrote {file}. Every setting in it is explained; now: broker doctor")


def write(file: Path, *, force: bool) -> None:
    """Write the template; only its owner may read it, since passwords go into it. Raises SetupError."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        with os.fdopen(os.open(file, flags, 0o600), "w", encoding="utf-8") as sink:
            sink.write(TEMPLATE)
    except FileExistsError:
        raise SetupError(f"{file} is there already.", hint="Edit it, or write over it with --force.") from None
    except OSError as error:
        raise SetupError(f"{file} cannot be written: {error.strerror}.") from error
