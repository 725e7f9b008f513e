"""Another OGC API - Processes server as a platform: processes that it has, and CWL packages where it takes them.

The honest limit: in the standard a client cannot name its job. Servers that honour `Idempotency-Key` and keep tags
(brokers of our kind) start a job once, however often it is submitted. With others, a broker that dies between the
server's start of a job and the saving of its handle starts another one, and nobody ends the first.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from typing import Any, BinaryIO, ClassVar
from urllib.parse import quote, unquote, urlsplit

from adapters.ogcapi import logs, processes, status, trial
from adapters.ogcapi.estimate import estimate
from adapters.ogcapi.health import CALLBACK, health, spoken
from adapters.ogcapi.provenance import facts
from adapters.ogcapi.request import LINK_SECONDS, Sending, execute_request, recorded
from adapters.ogcapi.results import ACCEPT, Results, monitor, of_document, read_whole, results
from adapters.ogcapi.server import JSON, Reply, Server
from adapters.ogcapi.settings import OgcApiSettings
from broker.egress import FetchError
from broker.errors import PlatformError, PlatformRefused, PlatformUnavailable
from broker.jobs.model import JobSpec, Progress, Step
from broker.jobs.record import kept_small
from broker.packages import ogcapi as package
from broker.platform import Attempt, Collected, Estimate, Handle, Health, LogPage, Observation, State, Trial, only_asked
from broker.storage.signing import S3Account

GRACE = 5.0  # seconds in which a new job may be unknown yet (servers that answer before they have written it down)
FEW = 3  # jobs of which all is asked at once; of more, only how they are
RARELY = 10.0  # seconds between looks at a job of which the server sends notices
LARGEST_ANSWER = 256 * 1024  # bytes of a result without a job, which is kept in the handle
_ENDED = {State.SUCCEEDED: "successful", State.FAILED: "failed", State.CANCELLED: "failed", State.LOST: "failed"}


class OgcApiPlatform:
    """Implements `broker.platform.Platform`, `Describing`, `Estimating` and `Proving`.

    A handle: `job` (its address), `process`, `outputs` (names), `version` of the process as it is now, `created`,
    `request` as the record of provenance has it, and `told` where the server sends notices; instead of `job`,
    `document` of a process that ran at once and left no job.
    """

    Settings: ClassVar[type[OgcApiSettings]] = OgcApiSettings
    page = 50

    def __init__(self, name: str, settings: OgcApiSettings) -> None:
        self.name = name
        self.settings = settings
        self.server = Server(settings)

    def describe(self, url: str) -> bytes | None:
        """The description of a process of this server; None for an address that is not below it."""
        if not self._is_process(url.removesuffix("?f=json")):
            return None
        reply = self.server.get(url)
        if reply is None:
            raise PlatformRefused(f"{self.server.url} has no process {url.rpartition('/')[2]}.")
        return reply.body

    def _is_process(self, url: str) -> bool:
        """Whether an address is one of a process, and of nothing else that the platform's account could reach."""
        return re.fullmatch(re.escape(self.server.url) + r"/processes/[\w:~@+-][\w.:~@+-]*", url) is not None

    # ---- submit

    def submit(self, spec: JobSpec) -> Iterator[Handle]:
        """Deploys a CWL package first, once for all its jobs; then one execution."""
        if spec.bundle["kind"] == package.KIND:
            address = str(spec.bundle["entry"])
            if not self._is_process(address):
                raise PlatformRefused(f"{address} is no address of a process at {self.server.url}.")
            with only_asked():
                described = processes.unchanged(self.server, spec, address)
        else:
            address = processes.address(self.server, spec)
            with only_asked():
                found = processes.described(self.server, address)
            if found is None:
                address = processes.deploy(self.server, spec, address)
                yield {"pending": "execute", "process": address}
                found = processes.described(self.server, address)
            if found is None:
                raise PlatformUnavailable(f"{self.server.url} does not know yet what was deployed there.")
            described = found
        yield self._execute(spec, address, described)

    def _execute(self, spec: JobSpec, address: str, described: Mapping[str, Any]) -> Handle:
        with only_asked():
            classes = self.server.classes()
        draft = spoken(classes) == ["2.0"]
        sending = Sending(self.settings.value_bytes, self.settings.s3)
        body = execute_request(spec, described, sending, draft=draft)
        told = self.settings.callbacks is not None and not CALLBACK.isdisjoint(classes)
        if self.settings.callbacks is not None and told:
            notice = self.settings.callbacks(spec.job_id)
            body["subscriber"] = {"successUri": notice, "failedUri": notice, "inProgressUri": notice}
        reply = self._asked(spec, address, described, body, draft=draft)
        known = {
            "process": address,
            "outputs": [*described["outputs"]],
            "version": str(described.get("version") or ""),
            "request": kept_small(recorded(body)),
            **({"told": True} if told else {}),
        }
        if reply.status == 409 and (job := self._tagged(spec.name)) is not None:
            return {"job": job, **known}  # the same job; its request differs in how its links are signed
        if reply.status >= 300:
            raise self._not_taken(reply)
        return self._started(reply, known)

    def _asked(
        self, spec: JobSpec, address: str, described: Mapping[str, Any], body: Mapping[str, Any], *, draft: bool
    ) -> Reply:
        """Ask for the execution, asynchronously where the process can be run so."""
        options = described.get("jobControlOptions")
        waits = isinstance(options, list) and "async-execute" not in options and bool(options)
        prefer = [] if waits else ["respond-async"]  # alone, for servers that compare the whole header (pygeoapi)
        headers = {"Idempotency-Key": spec.name}
        if prefer := [*prefer, *(["return=minimal"] if draft else [])]:
            headers["Prefer"] = ", ".join(prefer)
        try:
            return self.server.ask("POST", f"{address}/execution", body, accept=f"{JSON}, */*;q=0.5", headers=headers)
        except PlatformUnavailable as error:
            if waits and isinstance(error.__cause__, FetchError):  # once more would be one more whole run
                raise PlatformRefused(
                    f"The process runs at once only, and did not end within {self.settings.seconds:g} s.",
                    hint="Ask the server's operator for asynchronous execution of this process.",
                    code="time-limit",
                ) from error
            raise

    def _not_taken(self, reply: Reply) -> PlatformRefused:
        own = reply.status in (400, 413, 422)
        return PlatformRefused(
            f"The execution was not taken: {self.server.said(reply)}",
            fault_of="input" if own else "platform",
            code="invalid-input" if own else "platform-refused",
        )

    def _started(self, reply: Reply, known: Mapping[str, Any]) -> Handle:
        """The handle of a job, or of the result of a process that left none."""
        document = reply.json()
        told = document if status.is_status(document) else {}
        job = self.server.job(monitor(reply), status.job_id(told))
        if job is not None:
            return {"job": job, "created": status.moment(told.get("created")) or time.time(), **known}
        if len(reply.body) > LARGEST_ANSWER or not reply.media_type.endswith("json"):
            raise PlatformRefused(
                "The process ran at once and left no job, and its result is too large to be kept so.",
                hint="Ask the server's operator for asynchronous execution of this process.",
            )
        return {"document": document, "created": time.time(), **known}

    # ---- while it runs

    def _job(self, attempt: Attempt) -> str | None:
        """Where the job is; between intent and handle, the one that carries the attempt's name."""
        if attempt.handle is not None and "pending" not in attempt.handle:
            found = attempt.handle.get("job")
            return str(found) if found else None
        return self._tagged(attempt.name)

    def _tagged(self, name: str) -> str | None:
        reply = self.server.get(f"{self.server.url}/jobs?tag={quote(name)}&limit=10")
        listed = reply.json() if reply is not None else None
        jobs = listed.get("jobs") if isinstance(listed, Mapping) else None
        for one in jobs if isinstance(jobs, list) else ():
            if isinstance(one, Mapping) and name in (one.get("tags") or ()):
                return self.server.job(None, status.job_id(one))
        return None

    def _status(self, job: str) -> dict[str, Any] | None:
        reply = self.server.get(job)
        found = reply.json() if reply is not None else None
        return dict(found) if isinstance(found, Mapping) else None

    def observe(self, attempts: Sequence[Attempt]) -> Iterable[Observation]:
        """One request each; the first that is not answered puts off all, so that a dead server costs one time-out."""
        asked = attempts[: self.page]
        return [self._observe(attempt, why=len(asked) <= FEW) for attempt in asked]

    def _observe(self, attempt: Attempt, *, why: bool = True) -> Observation:
        """`why`: of one that failed, its reason and facts are asked for, too."""
        handle = attempt.handle or {}
        if "document" in handle:
            return Observation(attempt.name, State.SUCCEEDED, "", handle["created"], handle["created"], Progress(1, 1))
        job = self._job(attempt)
        told = self._status(job) if job is not None else None
        if job is None or told is None:
            age = time.time() - float(handle.get("created") or 0.0)
            if job is not None and age < GRACE:
                return Observation(attempt.name, State.QUEUED, next_look=1.0)
            return Observation(attempt.name, State.LOST, "The server does not know the job.")
        seen = status.observation(attempt.name, told, time.time())
        if seen.next_look is not None and "told" in handle:
            seen = replace(seen, next_look=max(seen.next_look, RARELY))
        if seen.state is State.CANCELLED or (why and seen.state is State.FAILED):
            seen = replace(seen, facts=facts(self.server, handle, job, told))
        if why and seen.failure is not None and not (told.get("message") or told.get("failure")):
            seen = replace(seen, failure=status.failure(told, self._exception(job)))
        return seen

    def _exception(self, job: str) -> str:
        """What the results' address of a failed job says of it (1.0: the exception is there)."""
        try:
            said = self.server.ask("GET", f"{job}/results")
        except PlatformError:
            return ""
        whole = said.json() if said.status >= 400 else None
        words = whole if isinstance(whole, Mapping) else {}
        return str(words.get("detail") or words.get("description") or words.get("title") or "")

    def cancel(self, attempt: Attempt) -> None:
        """Dismiss it there. One that has ended is left alone: some servers remove it then, with its results."""
        job = self._job(attempt)
        told = self._status(job) if job is not None else None
        if job is None or told is None or status.state(told) in _ENDED:
            return
        reply = self.server.ask("DELETE", job)
        if reply.status >= 300 and reply.status not in (404, 409, 410):
            raise PlatformRefused(f"The job was not dismissed: {self.server.said(reply)}")

    def logs(self, attempt: Attempt, cursor: str | None) -> LogPage:
        """What the server links to as the job's log, if it does."""
        job = self._job(attempt)
        told = self._status(job) if job is not None else None
        return logs.page(self.server, told, cursor) if told is not None else LogPage((), cursor)

    def steps(self, attempt: Attempt) -> tuple[Step, ...]:
        """The process as one step: what is inside is in the server's own provenance."""
        return _steps(attempt, self._observe(attempt))

    # ---- its results

    def collect(self, attempt: Attempt) -> Collected:
        """Asks for the results; what they refer to is not touched."""
        found = self._results(attempt)
        job = self._job(attempt)
        told = self._status(job) if job is not None else None
        kept = facts(self.server, attempt.handle or {}, job, told or {})
        seen = self._observe(attempt) if told is None else status.observation(attempt.name, told, time.time())
        return Collected(found.outputs, tuple(found.files), _steps(attempt, seen), kept)

    def _results(self, attempt: Attempt) -> Results:
        handle = attempt.handle or {}
        known = frozenset(map(str, handle.get("outputs") or ()))
        if "document" in handle:
            return of_document(handle["document"], known, self.server.url)
        job = self._job(attempt)
        reply = self.server.get(f"{job}/results", ACCEPT, whole=read_whole) if job is not None else None
        if reply is None:
            raise PlatformRefused(f"The server has no results of the job {attempt.name}.", code="lost")
        return results(reply, known)

    def open(self, attempt: Attempt, ref: str, offset: int = 0) -> BinaryIO:
        if ref.startswith(("https://", "http://")):
            return self.server.open(ref, offset, ours=self._of_job(ref, attempt))
        if ref.startswith("s3://"):
            return self.server.open(self._signed(ref, attempt), offset, ours=True)
        content = self._results(attempt).contents.get(ref) if ref.startswith("#") else None
        if content is None:
            raise PlatformRefused(f"{ref!r} is not an output of {attempt.name}.", code="lost")
        return BytesIO(content[offset:])

    def _of_job(self, url: str, attempt: Attempt) -> bool:
        """Whether a result lies where only the server itself puts results. What a tool wrote may name any address, also
        that of somebody else's job, which the account that all jobs share could read."""
        places = [*self.settings.outputs, *filter(None, [self._job(attempt)])]
        path = unquote(urlsplit(url).path)
        return any(url.startswith(f"{place.rstrip('/')}/") for place in places) and ".." not in path.split("/")

    def _signed(self, url: str, attempt: Attempt) -> str:
        """A link to a result in a bucket, where the operator says that there are results, and has an account."""
        bucket, _, key = url[5:].partition("/")
        account = self.settings.s3.get(bucket) or self.settings.s3.get("*")
        if account is None or not self._of_job(url, attempt):
            raise PlatformRefused(
                f"The results at s3://{bucket} cannot be read from here.",
                hint=f"Its operator can open them: outputs of the platform {self.name}, and an account for the bucket.",
                code="output-refused",
            )
        return S3Account.from_json(account).signed(bucket, unquote(key), LINK_SECONDS)

    def release(self, attempt: Attempt) -> None:
        """Remove the job there, or its results where jobs stay on record. What cannot be removed stays."""
        self.cancel(attempt)
        job = self._job(attempt)
        if job is not None and self.server.ask("DELETE", job).status in (405, 409):
            self.server.ask("DELETE", f"{job}/results")

    def check(self) -> Health:
        return health(self.server, self.settings)

    def estimate(self, spec: JobSpec) -> Estimate:
        return estimate(self.server, self.settings, spec)

    def trial(self) -> Trial | None:
        """What its operator names, else a package where it takes such, else a process that brings its inputs."""
        if (found := trial.chosen(self.server, self.settings)) is not None:
            return found
        return trial.package(self.name) if "cwl" in self.check().capabilities.kinds else trial.own(self.server)


def _steps(attempt: Attempt, seen: Observation) -> tuple[Step, ...]:
    if seen.started is None:
        return ()
    code = seen.failure.exit_code if seen.failure is not None else None
    name = str((attempt.handle or {}).get("process") or "process").rpartition("/")[2]
    return (Step(name, _ENDED.get(seen.state, "running"), seen.started, seen.finished, code),)
