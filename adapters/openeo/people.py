"""Accounts of people at a back-end: jobs that were submitted with one are looked at, and ended, with the same."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial

from pydantic import SecretStr

from adapters.openeo.api import Api
from adapters.openeo.batch import Batch
from adapters.openeo.settings import OpenEoSettings
from adapters.openeo.synchronous import Synchronous
from broker.errors import PlatformRefused
from broker.jobs.secrets import origin
from broker.platform import Accounts

MOST = 256  # accounts whose tokens are kept
SECRETS = {"password": "password", "refresh_token": "refreshToken"}
Verbs = tuple[Batch, Synchronous]


class AccountGone(PlatformRefused):
    """The credential that a job was submitted with was removed, or is for something else."""


class People:
    """The verbs of each account. For all threads of a process."""

    def __init__(self, settings: OpenEoSettings) -> None:
        self._settings = settings
        self._at = str(origin(settings.url))
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Verbs]] = {}

    def verbs(self, accounts: Accounts | None, account: str) -> Verbs:
        """Made anew where the credential has changed. Raises AccountGone."""
        found = accounts.opened(account, self._at) if accounts is not None else None
        if accounts is None or found is None:
            text = "The credential of the account with which the job was submitted is no longer kept here."
            raise AccountGone(text, hint="Look at the job on the platform itself.")
        since, fields = found
        with self._lock:
            known = self._known.get(account)
            if known is None or known[0] != since:
                api = Api(of(self._settings, fields), partial(accounts.renewing, account, self._at))
                while len(self._known) >= MOST:
                    self._known.pop(next(iter(self._known)))
                known = self._known[account] = (since, (Batch(api), Synchronous(api)))
            return known[1]


def of(settings: OpenEoSettings, fields: Mapping[str, str]) -> OpenEoSettings:
    """The settings of the platform with a person's account in the place of its own, and none of what is the platform
    account's: its plan."""
    own = {name: SecretStr(fields[key]) for name, key in SECRETS.items() if key in fields}
    plain = {"username": fields.get("username"), "client_id": fields.get("clientId")}
    none = {"password": None, "client_secret": None, "refresh_token": None, "plan": None}
    provider = fields.get("provider", settings.provider)
    return settings.model_copy(update={**none, **plain, **own, "provider": provider})
