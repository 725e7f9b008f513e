"""Which server a command talks to, and with which token."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from platformdirs import user_config_path

from broker.cli.client import origin
from broker.errors import SetupError

if TYPE_CHECKING:
    from broker.settings import Settings

APP = "earthcode-broker"


def token_file() -> Path:
    """$BROKER_TOKEN_FILE, else `tokens.json` in the user's configuration: server -> token."""
    named = os.environ.get("BROKER_TOKEN_FILE")
    return Path(named) if named else user_config_path(APP) / "tokens.json"


def token_for(server: str) -> str | None:
    """$BROKER_TOKEN, else the token kept for this server. Raises SetupError for a file that others may read."""
    given = os.environ.get("BROKER_TOKEN")
    return given or _kept().get(_key(server))


def keep(server: str, token: str | None) -> Path:
    """Keep a token for a server (None: forget it) in a file that only its owner may ever read."""
    file = token_file()
    tokens = _kept()
    if token is None:
        tokens.pop(_key(server), None)
    else:
        tokens[_key(server)] = token
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    # the mode is set as the file is made: at no time can anybody else open it
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as sink:
        json.dump(tokens, sink, indent=1)
    draft.replace(file)
    return file


def _kept() -> dict[str, str]:
    file = token_file()
    try:
        if os.name == "posix" and file.stat().st_mode & 0o077:
            raise SetupError(f"Others may read the tokens in {file}.", hint=f"Run: chmod 600 {file}")
        found = json.loads(file.read_text("utf-8"))
        return {_key(str(server)): str(token) for server, token in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise SetupError(f"The tokens in {file} cannot be read: {error}", hint=f"Run: rm {file}") from error


def _key(server: str) -> str:
    scheme, place = origin(server)
    return f"{scheme}://{place}"


def server_address(given: str | None, settings: Settings | None = None) -> str:
    """The given address, else that of the broker that runs here, else the one of the settings (default: loaded).

    Raises SetupError when the settings are not valid or the address is none.
    """
    if given:
        if urlsplit(given).scheme not in ("http", "https"):
            raise SetupError(f"{given} is not the address of a server.", hint="Write it as http://host:port")
        return given
    from broker.settings import load

    settings = settings or load()
    try:
        url = str(json.loads((settings.run / "broker.json").read_text("utf-8"))["url"])
    except (OSError, ValueError, KeyError):
        url = settings.public_url
    return url.replace("//0.0.0.0", "//127.0.0.1").replace("//[::]", "//[::1]")
