"""Notices of platforms: that a job may have changed. Nothing in them is believed: the broker looks for itself."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from broker.access.vault import Vault
from broker.store import claims
from broker.store.database import Database


def addresses(base: str, vault: Callable[[], Vault]) -> Callable[[str], str]:
    """What gives the address for notices about a job: only this broker can make it, and nobody can guess it."""

    def of(job_id: str) -> str:
        return f"{base}/notices/{quote(job_id)}/{vault().token(_bond(job_id))}"

    return of


def heard(database: Database, vault: Vault, job_id: str, token: str) -> bool:
    """Look at a job soon; False where the address is not one of ours, or there is no need."""
    if not vault.gave(token, _bond(job_id)):
        return False
    with database.write() as tx:
        return claims.look_now(tx, job_id)


def _bond(job_id: str) -> tuple[str, str]:
    return ("notice", job_id)
