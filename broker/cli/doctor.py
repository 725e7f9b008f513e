"""`broker doctor`: what this machine lacks, and the command that mends it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import redis
import typer
from rich.markup import escape
from sqlalchemy import inspect
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from adapters import make_platform
from broker.access.addresses import secure
from broker.access.keys import Issued
from broker.bootstrap import issuers_egress
from broker.cli import exposure, problems, queue_server
from broker.cli.console import AsJson, ConfigFile, amount, command, console, put_json
from broker.cli.finding import Finding
from broker.cli.sealed import secrets
from broker.errors import BrokerError
from broker.execution.fleet import TERMS, terms_of
from broker.runner import cgroups, isolation
from broker.runner.client import Zygote
from broker.settings import Settings, default_file, load
from broker.store import quarantine
from broker.store.database import Database

app = typer.Typer()
DAY = 86400.0
LITTLE, TOO_LITTLE = 5 * 2**30, 2**28  # bytes of free space: a warning, an error


@app.command()
@command
def doctor(config: ConfigFile = None, as_json: AsJson = False) -> None:
    """Say what is missing on this machine, and what mends it.

    Containers and sandboxes are really started, which takes some seconds. The exit code is 1 if something that the
    broker cannot do without is missing.

    Example:

        broker doctor
    """
    screen = console(stderr=False)
    found = []
    for finding in findings(config):
        found.append(finding)
        if not as_json:
            mark = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "error": "[red]error  [/]"}
            screen.print(f"{mark[finding.state]}  [bold]{finding.what}[/]  {escape(finding.detail)}")
            if finding.mend:
                screen.print(f"         mend it with: [bold]{escape(finding.mend)}[/]")
    bad = any(finding.state == "error" for finding in found)
    if as_json:
        put_json({"ok": not bad, "findings": [asdict(finding) for finding in found]})
    raise typer.Exit(problems.FAILED if bad else problems.OK)


def findings(config: Path | None) -> Iterator[Finding]:
    """Each check in turn; the others need settings that can be read."""
    yield python()
    try:
        settings = load(config)
    except BrokerError as error:
        yield Finding("settings", "error", error.detail, error.hint or "broker init --force")
        return
    file = config or default_file()
    source = str(file.absolute()) if file.is_file() else f"no configuration file (looked for {file}), defaults"
    yield Finding("settings", "ok", f"{source}; state in {settings.state}")
    checks: tuple[Callable[[Settings], Finding], ...] = (state, space, database, queue, port, access, secrets, images)
    for check in checks:
        yield check(settings)
    yield from issuers(settings)
    for name, options in settings.platforms.items():
        yield from platform(name, options, settings, source)
        if options.get("adapter", name) == "local":
            yield from local(name, options)
            yield bounds(name, settings)


def bounds(name: str, settings: Settings) -> Finding:
    """Whether the kernel bounds a job as a whole; asked of the runner, whose place in the tree of groups counts."""
    what = f"platform {name}: limits"
    try:
        version = Zygote(settings.zygote_socket).ping().get("groups")
    except BrokerError:
        found = cgroups.find()
        version = found.version if found else None
    if os.geteuid() == 0:
        who = "the broker runs as root, and so do tools outside of their sandbox (without any of its rights)"
        return Finding(what, "warning", f"{who}. Control groups: {version or 'none'}", "run it as an ordinary user")
    if version is None:
        mend = "Delegate=yes and DelegateSubgroup=main in the systemd unit, or a writable /sys/fs/cgroup"
        return Finding(what, "warning", cgroups.UNGROUPED, mend)
    return Finding(what, "ok", f"memory, processes and CPU of each job by control groups (version {version})")


def python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.prefix == sys.base_prefix:
        return Finding("python", "warning", f"{version}, not in a virtual environment", "python3 -m venv .venv")
    return Finding("python", "ok", f"{version} in {sys.prefix}")


def state(settings: Settings) -> Finding:
    """Whether files can be made in the state directory."""
    try:
        settings.state.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.state):
            pass
    except OSError as error:
        mend = f"mkdir -p {settings.state} && chown {os.getuid()} {settings.state}"
        return Finding("state directory", "error", f"{settings.state}: {error.strerror}", mend)
    return Finding("state directory", "ok", f"{settings.state} can be written")


def space(settings: Settings) -> Finding:
    place = settings.state
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    detail = f"{amount(free)} free in {place}"
    if free < LITTLE:
        level = "error" if free < TOO_LITTLE else "warning"
        return Finding("disk space", level, detail, "broker up --state DIRECTORY-ON-A-LARGER-DISK")
    return Finding("disk space", "ok", detail)


def database(settings: Settings) -> Finding:
    """Whether the database answers; a SQLite file that is not there yet is made by `broker up`."""
    if settings.database_url is None and not (settings.state / "broker.db").exists():
        return Finding("database", "ok", "SQLite, made when the broker starts first")
    try:
        found = Database(settings.database, pool_size=1)
        with found.read() as tx:
            tx.exec_driver_sql("select 1")
            damaged = quarantine.count(tx, time.time() - 30 * DAY) if inspect(tx).has_table("audit") else 0
        found.close()
    except (BrokerError, SQLAlchemyError, ArgumentError, ModuleNotFoundError) as error:
        return Finding("database", "error", str(error).splitlines()[0], "set database_url in broker.toml")
    if damaged:
        detail = f"{damaged} jobs failed in the last 30 days because their rows had been damaged"
        return Finding("database", "warning", detail, "broker audit --action quarantine --since 30d")
    return Finding("database", "ok", f"{found.url.get_backend_name()} answers")


def queue(settings: Settings) -> Finding:
    """Whether the queue answers, or one can be started."""
    if settings.redis_url is not None:
        try:
            client = redis.Redis.from_url(settings.redis, socket_connect_timeout=3, socket_timeout=3)
            client.ping()
            client.close()
        except (redis.RedisError, ValueError, OSError) as error:
            mend = "start the server that redis_url names, or remove redis_url to have `broker up` bring one"
            return Finding("queue", "error", f"the server of redis_url does not answer: {error}", mend)
        return Finding("queue", "ok", "the server of redis_url answers")
    try:
        return Finding("queue", "ok", f"broker up starts {queue_server.find()}")
    except BrokerError as error:
        return Finding("queue", "error", error.detail, "apt-get install redis-server")


def port(settings: Settings) -> Finding:
    host, number = settings.api.host, settings.api.port
    if number == 0:
        return Finding("port", "ok", f"{host}, any port that is free")
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, number))
        except OSError as error:
            if (settings.run / "broker.json").is_file():
                return Finding("port", "ok", f"{host}:{number} is served by the broker that is up")
            mend = f"broker up --port {number + 1}"
            return Finding("port", "error", f"{host}:{number} is not free: {error.strerror}", mend)
    return Finding("port", "ok", f"{host}:{number} is free")


def access(settings: Settings) -> Finding:
    """Whether somebody who should not could use the broker; without tokens it serves loopback only."""
    if settings.access.issuers:
        if not secure(settings.public_url):
            mend = 'url = "https://..." below [api] in broker.toml, and a proxy with TLS before the broker'
            return Finding(
                "access", "warning", f"tokens and cookies travel in the clear to {settings.public_url}", mend
            )
        return Finding("access", "ok", f"people of {', '.join(settings.access.issuers)}, and bearers of tokens")
    try:
        exist = exposure.tokens_exist(settings)
    except (BrokerError, SQLAlchemyError):
        exist = False
    if exist:
        return Finding("access", "ok", "tokens are asked for")
    if exposure.is_loopback(settings.api.host):
        return Finding("access", "ok", "open to everybody on this machine, closed to all others")
    mend = "broker token create NAME"
    return Finding("access", "error", f"{settings.api.host} is served to other machines only with tokens", mend)


def issuers(settings: Settings) -> Iterator[Finding]:
    """Whether the configured issuers answer, with keys and with what logins need."""
    for name, one in settings.access.issuers.items():
        what, mend = f"issuer {name}", f"correct [access.issuers.{name}] in broker.toml"
        issued = Issued(one.url, issuers_egress(settings))
        try:
            issued.refresh()
            if one.client_id is not None:
                issued.endpoint("authorization_endpoint")
            if one.cli_client_id is not None:
                issued.endpoint("device_authorization_endpoint")
        except BrokerError as error:
            yield Finding(what, "warning", f"{one.url}: {error.__cause__ or error.detail}", mend)
            continue
        way = f"; browsers come back to {settings.public_url}/login/callback" if one.client_id else ""
        yield Finding(what, "ok", f"{one.url} answers{way}")


def images(settings: Settings) -> Finding:
    """Whether strangers could have the container engine call any address."""
    listed = settings.images.registries
    if "*" not in listed:
        return Finding("images", "ok", f"from {', '.join(listed) or 'no registry'}")
    if exposure.is_loopback(settings.api.host) and not settings.access.issuers:
        return Finding("images", "ok", "from any registry")
    mend = 'registries = ["docker.io"] below [images] in broker.toml'
    return Finding("images", "warning", "several people use this broker, and images come from any registry", mend)


def platform(name: str, options: dict[str, Any], settings: Settings, source: str) -> Iterator[Finding]:
    """Whether a platform's table is one that its adapter takes; nothing is said of one that is right."""
    what, options = f"platform {name}", dict(options)
    kind = str(options.pop("adapter", name))
    if kind == "local":  # what the broker itself adds
        options = {"root": settings.state / "local", "socket": settings.zygote_socket} | options
    mend = f"correct [platforms.{name}] in {source}"
    try:
        terms_of(options)
        options.pop(TERMS, None)
        make_platform(kind, name, options)
    except BrokerError as error:
        yield Finding(what, "error", error.detail, mend)
        return
    software = options.get("software", ()) if kind == "local" else ()
    directories = software.split(os.pathsep) if isinstance(software, str) else software
    for directory in directories:
        if not Path(directory).is_dir():
            yield Finding(f"{what}: software", "error", f"there is no directory {directory}", mend)


def local(name: str, options: dict[str, Any]) -> Iterator[Finding]:
    """How tools can be run here: containers for those with an image, bubblewrap for the others."""
    wanted, engine = str(options.get("isolation", "auto")), str(options.get("engine", "auto"))
    found = isolation.find(wanted, engine, tuple(options.get("engine_args", ())))
    where = f"platform {name}"
    notes = " ".join(found.notes)
    if found.engine:
        yield Finding(f"{where}: containers", "ok", f"{found.engine} runs them")
    else:
        mend = "apt-get install podman" if not shutil.which("podman") else "apt-get install runc"
        detail = "no container engine works, so packages that require an image are refused."
        yield Finding(f"{where}: containers", "warning", f"{detail} {notes}".strip(), mend)
    if found.tools == "none":
        mend = "sysctl -w kernel.unprivileged_userns_clone=1, or apt-get install bubblewrap podman"
        yield Finding(f"{where}: sandbox", "error", f"nothing here can confine a tool. {notes}".strip(), mend)
    elif found.tools == "process":
        yield Finding(f"{where}: sandbox", "warning", notes, 'isolation = "auto" in broker.toml')
    else:
        yield Finding(f"{where}: sandbox", "ok", f"tools without an image run in {found.tools}")
