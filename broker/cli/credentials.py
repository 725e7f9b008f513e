"""Which server a command talks to, and with which token."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from platformdirs import user_config_path

from broker.cli.client import origin
from broker.cli.oauth import Grant, Issuer
from broker.errors import SetupError

if TYPE_CHECKING:
    from broker.settings import Settings

if sys.platform != "win32":
    import fcntl

APP = "earthcode-broker"


def token_file() -> Path:
    """$BROKER_TOKEN_FILE, else `tokens.json` in the user's configuration: server -> token, or what a login gave."""
    named = os.environ.get("BROKER_TOKEN_FILE")
    return Path(named) if named else user_config_path(APP) / "tokens.json"


def token_for(server: str) -> str | None:
    """$BROKER_TOKEN, else the token kept for this server, renewed where it has expired.

    Raises SetupError for a file that others may read, Unauthenticated for a login that is over.
    """
    given = os.environ.get("BROKER_TOKEN")
    if given:
        return given
    kept = kept_for(server)
    if isinstance(kept, Grant) and not kept.fresh and kept.refresh_token:
        kept = _renewed(server)
    return kept.access_token if isinstance(kept, Grant) else kept


def kept_for(server: str) -> Grant | str | None:
    """What is kept for a server: what a login gave, or a token."""
    return _kept().get(_key(server))


def keep(server: str, token: Grant | str | None) -> Path:
    """Keep a token for a server (None: forget it) in a file that only its owner may ever read."""
    with _alone():
        return _keep(server, token)


def _keep(server: str, token: Grant | str | None) -> Path:
    file = token_file()
    tokens = _kept()
    if token is None:
        tokens.pop(_key(server), None)
    else:
        tokens[_key(server)] = token
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    plain = {key: one.to_json() if isinstance(one, Grant) else one for key, one in tokens.items()}
    # the mode is set as the file is made: at no time can anybody else open it
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as sink:
        json.dump(plain, sink, indent=1)
    draft.replace(file)
    return file


def _renewed(server: str) -> Grant | str | None:
    """Renew a login. A refresh token is good for one use: of commands that run at once, one renews, all have it."""
    with _alone():
        kept = kept_for(server)
        if isinstance(kept, Grant) and not kept.fresh and kept.refresh_token:
            kept = Issuer(kept.issuer, kept.client_id, kept.parameters).renew(kept)
            _keep(server, kept)
        return kept


@contextmanager
def _alone() -> Iterator[None]:
    """No other command changes the file meanwhile."""
    file = token_file()
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(file.with_name(f".{file.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _kept() -> dict[str, Grant | str]:
    file = token_file()
    try:
        if os.name == "posix" and file.stat().st_mode & 0o077:
            raise SetupError(f"Others may read the tokens in {file}.", hint=f"Run: chmod 600 {file}")
        found = json.loads(file.read_text("utf-8"))
        return {_key(str(server)): _read(one) for server, one in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise SetupError(f"The tokens in {file} cannot be read: {error}", hint=f"Run: rm {file}") from error


def _read(one: object) -> Grant | str:
    return Grant(**one) if isinstance(one, dict) else str(one)


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
