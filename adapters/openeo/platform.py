"""openEO back-ends as a platform: batch jobs, or synchronous requests where there are none.

Honest limits. openEO has no idempotency keys: a job is found again by its title, so where the answer to `POST /jobs` is
lost *and* the list of jobs lags behind, a second job is made, which is paid for if it is started before the first one
shows up. A synchronous request is made when its result is fetched, and made again where that breaks off.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, BinaryIO, ClassVar, Literal

from adapters.openeo import cwl, device, status
from adapters.openeo.api import Api
from adapters.openeo.batch import Batch
from adapters.openeo.graph import SUM
from adapters.openeo.people import AccountGone, People, Verbs, of
from adapters.openeo.settings import OpenEoSettings
from adapters.openeo.synchronous import Synchronous
from adapters.openeo.workspace import FILE
from broker.errors import PlatformError
from broker.jobs.model import Capabilities, Failure, Fault, JobSpec, Reason, Step
from broker.jobs.placement import UPLOADS
from broker.jobs.secrets import origin
from broker.packages.openeo import KIND, MEDIA_TYPE
from broker.platform import (
    Accounts,
    Attempt,
    Collected,
    Entered,
    Estimate,
    Handle,
    Health,
    LogPage,
    Observation,
    State,
    Trial,
    only_asked,
)

_PARAMETERS = ("create_job_parameters", "create_synchronous_parameters")


class OpenEoPlatform:
    """Implements `broker.platform.Platform`, `Estimating`, `Proving` and `Personal`; remembers nothing about jobs."""

    Settings: ClassVar[type[OpenEoSettings]] = OpenEoSettings
    page = 200
    listed: ClassVar[Literal[True]] = True

    def __init__(self, name: str, settings: OpenEoSettings) -> None:
        self.name = name
        self.settings = settings
        self.api = Api(settings)
        self.batch = Batch(self.api)
        self.synchronous = Synchronous(self.api)
        self.accounts: Accounts | None = None
        self._people = People(settings)

    @property
    def account_at(self) -> str | None:
        """Of the back-end, for credentials of people."""
        return origin(self.settings.url)

    def tried(self, fields: Mapping[str, str]) -> str:
        """Not with a refresh token: those that are used once are worth nothing afterwards."""
        api = Api(of(self.settings, fields))
        found = api.get("/me")
        return f"{self.account_at} knows it as {found.get('user_id')}. {api.described(found)}"

    def entered(self, fields: Mapping[str, str]) -> Entered:
        return device.entered(self.api, fields)

    def _verbs(self, account: str | None) -> Verbs:
        """Those of the platform's account, or of somebody's own. Raises AccountGone."""
        if account is None:
            return self.batch, self.synchronous
        return self._people.verbs(self.accounts, account)

    def _mode(self, account: str | None = None) -> Batch | Synchronous:
        mode = self.settings.mode
        batch = self.api.offers("/jobs", "POST") if mode == "auto" else mode == "batch"
        return self._verbs(account)[0 if batch else 1]

    def submit(self, spec: JobSpec) -> Iterator[Handle]:
        with only_asked():
            mode = self._mode(spec.account)
        return mode.submit(spec)

    def estimate(self, spec: JobSpec) -> Estimate:
        """Says nothing where the back-end does not, nor of synchronous requests."""
        if self._mode() is not self.batch or not self.api.offers("/jobs/{job_id}/estimate"):
            return Estimate(text="The platform gives no estimates.")
        return self.batch.estimate(spec)

    def trial(self) -> Trial:
        return Trial(json.dumps({"id": "sum", "process_graph": SUM}), MEDIA_TYPE)

    def observe(self, attempts: Sequence[Attempt]) -> Iterable[Observation]:
        asked = attempts[: self.page]
        seen: dict[str, Observation] = {}
        for account in {one.account for one in asked}:
            theirs = [one for one in asked if one.account == account and not _is_sync(one)]
            try:
                seen |= {one.name: one for one in self._verbs(account)[0].observe(theirs)}
            except AccountGone as error:
                failure = Failure(Fault.PLATFORM, Reason.PLATFORM_REFUSED, error.detail)
                seen |= {one.name: Observation(one.name, State.FAILED, error.detail, failure=failure) for one in theirs}
        return [seen.get(one.name) or self.synchronous.observe(one) for one in asked]

    def cancel(self, attempt: Attempt) -> None:
        if not _is_sync(attempt):
            with suppress(AccountGone):  # nobody can end it any more
                self._verbs(attempt.account)[0].cancel(attempt)

    def logs(self, attempt: Attempt, cursor: str | None) -> LogPage:
        return LogPage((), cursor) if _is_sync(attempt) else self._verbs(attempt.account)[0].logs(attempt, cursor)

    def steps(self, attempt: Attempt) -> tuple[Step, ...]:
        return () if _is_sync(attempt) else self._verbs(attempt.account)[0].steps(attempt)

    def collect(self, attempt: Attempt) -> Collected:
        return self._of(attempt).collect(attempt)

    def open(self, attempt: Attempt, ref: str, offset: int = 0) -> BinaryIO:
        return self._of(attempt).open(attempt, ref, offset)

    def release(self, attempt: Attempt) -> None:
        with suppress(AccountGone):
            (self._mode(attempt.account) if attempt.handle is None else self._of(attempt)).release(attempt)

    def _of(self, attempt: Attempt) -> Batch | Synchronous:
        return self._verbs(attempt.account)[1 if _is_sync(attempt) else 0]

    def check(self) -> Health:
        """Its description, and whether it takes the account."""
        own = self.settings
        offer = Capabilities(frozenset({KIND}), cores=own.cores, ram_mib=own.ram_mib, slots=own.slots)
        offer = replace(offer, accounts_at=self.account_at)
        try:
            me: Mapping[str, Any] = {}
            if self._mode() is self.batch:
                next(self.api.jobs(), None)
                if self.api.runs_cwl() is not None:  # in containers, of what it can get
                    kinds = offer.kinds | {"cwl"}
                    offer = replace(offer, kinds=kinds, features=cwl.FEATURES, container_engine="openEO", network=True)
                    offer = replace(offer, without=cwl.WITHOUT)
            if not self.api.offers(FILE, "PUT"):
                offer = replace(offer, without=offer.without | {UPLOADS})
            offer = replace(offer, data_types=self.api.formats())
            if self.api.authorization():
                me = self.api.me()
            # everybody reads it in GET /platforms: not whose account it is
            said = [self.api.described({**me, "name": "of the platform"})] if me else []
            said += self._unknown_options()
            billing = self.api.capabilities().get("billing") or {}
        except PlatformError as error:
            return Health(False, offer, str(error))
        if billing.get("currency") and own.budget is None:
            said.append("Jobs cost money there, and no budget is set.")
        left = status.budget(me)
        spent = left is not None and left <= 0
        if spent:
            said.append("Its account may spend no more.")
        return Health(not spent, offer, " ".join(said))

    def _unknown_options(self) -> list[str]:
        """What is wrong with `job_options`, where the back-end tells which options jobs have."""
        if not self.settings.job_options or not self.api.offers("/processing_parameters"):
            return []
        listed = self.api.get("/processing_parameters")
        known = [one for key in _PARAMETERS for one in listed.get(key) or () if isinstance(one, Mapping)]
        unknown = sorted({*self.settings.job_options} - {str(one.get("name")) for one in known})
        return [f"It has no job option {', '.join(unknown)}."] if known and unknown else []


def _is_sync(attempt: Attempt) -> bool:
    return attempt.handle is not None and "sync" in attempt.handle
