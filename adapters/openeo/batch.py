"""Batch jobs: found by their title, started once, looked at in the list, their results read by name."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from adapters.openeo import request, status
from adapters.openeo.api import Api, JobNotFound
from adapters.openeo.download import Download
from adapters.openeo.graph import SUM
from adapters.openeo.results import MOST, Layout, Part, item_links
from adapters.openeo.workspace import Workspace
from broker.egress import Answer
from broker.errors import PlatformRefused, PlatformUnavailable
from broker.jobs.model import Failure, Fault, JobSpec, Reason, Step
from broker.platform import Attempt, Collected, Estimate, Handle, LogChunk, LogPage, Observation, State, only_asked

FEW = 3  # jobs that are asked for one by one; more are looked up in the list
LOG_LINES = 1000
LOG_CHARACTERS = 2**20
LOG_PATIENCE = 600.0  # seconds after a job's end that its log is waited for: it says why it failed
LINKS_SECONDS = 60.0  # that links of results are used again
_OVER = frozenset({"finished", "error", "canceled"})
_NEW: Mapping[str, Any] = {"status": "created"}


class Batch:
    """The verbs of `broker.platform.Platform` for batch jobs of one account."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.workspace = Workspace(api)
        self._layout: tuple[str, float, Layout] | None = None  # of the job whose files were read last

    def submit(self, spec: JobSpec) -> Iterator[Handle]:
        """Two handles: the job is there, and it was started."""
        with only_asked():
            known = None if spec.first else self._by_title(spec.name)
        job_id = str(known["id"]) if known is not None else self._made(spec)
        try:
            job = _NEW if spec.first else self.api.get(f"/jobs/{job_id}")
        except JobNotFound:  # it may be out of sight for a moment
            job = _NEW
        handle: dict[str, Any] = {
            "id": job_id,
            "began": status.moment(job.get("created")) or time.time(),
            "limit": spec.limits.time,
        }
        handle |= request.kept(spec)
        yield {**handle, "pending": "start"}
        if job.get("status") == "created" and status.state(job) is not State.CANCELLED:
            self._start(job_id)
        yield handle

    def _made(self, spec: JobSpec) -> str:
        with only_asked():
            body = request.body(self.api, spec, synchronous=False)
            self.api.authorization()
        reply = self.api.call("POST", "/jobs", {**body, "title": f"{spec.name} {spec.title or spec.process}"})
        return _identifier(reply.headers)

    def estimate(self, spec: JobSpec) -> Estimate:
        """The back-end estimates jobs that are there: one is made for it, not started, and deleted."""
        job_id = self._made(spec)
        try:
            found = self.api.get(f"/jobs/{job_id}/estimate")
        finally:
            self.api.call("DELETE", f"/jobs/{job_id}")
            self.workspace.delete(request.kept(spec).get("files", ()))
        return status.estimated(self.api.capabilities(), found)

    def _start(self, job_id: str) -> None:
        """Once only: where the answer is lost, the job itself says whether it was heard."""
        try:
            self.api.call("POST", f"/jobs/{job_id}/results")
        except PlatformUnavailable as error:
            if self.api.get(f"/jobs/{job_id}").get("status") == "created":
                # it may still be on its way: the next try looks again, and starts what is still not started
                raise PlatformUnavailable(error.detail, retry_after=error.retry_after or 10.0) from error

    # ---- finding jobs

    def _titled(self, name: str) -> list[Mapping[str, Any]]:
        return [one for one in self.api.jobs() if str(one.get("title")).partition(" ")[0] == name]

    def _by_title(self, name: str) -> Mapping[str, Any] | None:
        """The job of a name as it is listed; of two, the one that was started."""
        return min(self._titled(name), key=lambda one: one.get("status") == "created", default=None)

    def _job(self, attempt: Attempt) -> Mapping[str, Any] | None:
        """The job's metadata; None where it is not there. That a list lacks it says nothing."""
        if attempt.handle is not None:
            try:
                return self.api.get(f"/jobs/{attempt.handle['id']}")
            except JobNotFound:
                pass  # cancelled, and replaced by one of its name?
        known = self._by_title(attempt.name)
        return None if known is None else self.api.get(f"/jobs/{known['id']}")

    def _id(self, attempt: Attempt) -> str | None:
        if attempt.handle is not None:
            return str(attempt.handle["id"])
        known = self._by_title(attempt.name)
        return None if known is None else str(known["id"])

    # ---- observe

    def observe(self, attempts: Sequence[Attempt]) -> list[Observation]:
        """Many at once are looked up in the list, and of those that failed nobody is asked why; what was not started,
        or is not in it, is asked for by itself."""
        listed = {str(one["id"]): one for one in self.api.jobs()} if len(attempts) > FEW else {}
        return [self._observe(attempt, listed) for attempt in attempts]

    def _observe(self, attempt: Attempt, listed: Mapping[str, Mapping[str, Any]]) -> Observation:
        handle = attempt.handle or {}
        job: Mapping[str, Any] | None = listed.get(str(handle.get("id")), {})
        if job is not None and job.get("status") == "error":
            text = "It failed there."
            failed = Failure(Fault.PLATFORM, Reason.PLATFORM_REFUSED, text)
            started, ended = status.times(job, handle.get("began"))
            return Observation(attempt.name, State.FAILED, text, started, ended, failure=failed)
        if job is not None and job.get("status") not in ("queued", "running", "finished"):
            job = self._job(attempt)
        now, began = time.time(), handle.get("began")
        young = began is not None and now - began < self.api.settings.visible_seconds
        if job is None:
            return _unseen(attempt.name, young=young)
        found = status.observation(attempt.name, job, now=now, began=began, errors=self._errors(job))
        if job.get("status") == "created" and found.state is State.QUEUED and began is not None and not young:
            return Observation(attempt.name, State.LOST, "it was not started there, or was cancelled by somebody.")
        if found.state is State.RUNNING and found.started is not None:
            limit = handle.get("limit")
            if limit is not None and now - found.started > limit:
                return self._overdue(attempt, found.started, limit)
        if found.state in (State.FAILED, State.CANCELLED):
            return replace(found, facts=self._facts(job))
        return found

    def _overdue(self, attempt: Attempt, started: float, limit: float) -> Observation:
        """A job that runs for longer than it may is cancelled: some run for months, and nobody looks."""
        self.cancel(attempt)
        text = f"The job ran for longer than {limit:g} s, and was cancelled."
        failed = Failure(Fault.LIMIT, Reason.TIME_LIMIT, text)
        return Observation(attempt.name, State.FAILED, text, started, time.time(), failure=failed)

    def _errors(self, job: Mapping[str, Any]) -> list[str]:
        """What the log of a failed job has of errors."""
        if job.get("status") != "error":
            return []
        try:
            found = self.api.get(f"/jobs/{job['id']}/logs", level="error", limit=LOG_LINES)
        except PlatformRefused:
            return []
        except PlatformUnavailable:
            since = status.moment(job.get("updated")) or status.moment(job.get("created")) or 0.0
            if time.time() - since < LOG_PATIENCE:
                raise
            return []
        entries = found.get("logs") or ()  # of any level: not all back-ends select
        return [str(one.get("message")) for one in entries if str(one.get("level")).lower() == "error"]

    def _facts(self, job: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        return status.facts(self.api.capabilities(), self.api.base, job, **more)

    # ---- cancel, release

    def cancel(self, attempt: Attempt) -> None:
        """End the job. One that was not started is replaced by one that never will be, so that a submit that is still
        under way finds nothing to start."""
        job = self._job(attempt)
        if job is not None and job.get("status") not in (*_OVER, "created"):
            self.api.call("DELETE", f"/jobs/{job['id']}/results")
            job = self._job(attempt)
        if job is not None and (job.get("status") != "created" or status.state(job) is State.CANCELLED):
            return
        if job is not None:  # also where it was only queued: cancelling puts it back to `created`
            self.api.call("DELETE", f"/jobs/{job['id']}")
        body = {"title": attempt.name, "description": status.DISMISSED, "process": {"process_graph": SUM}}
        self.api.call("POST", "/jobs", body)

    def release(self, attempt: Attempt) -> None:
        """Delete the job with its results and the files that were sent for it, and whatever else has its name."""
        self.workspace.remove(attempt)
        ids = {str(one["id"]) for one in self._titled(attempt.name)}
        if attempt.handle is not None:
            ids.add(str(attempt.handle["id"]))
        for job_id in sorted(ids):
            try:
                self.api.call("DELETE", f"/jobs/{job_id}")
            except JobNotFound:
                continue

    # ---- logs and steps

    def logs(self, attempt: Attempt, cursor: str | None) -> LogPage:
        """The platform's entries as lines. The cursor is the id of the last one."""
        job_id = self._id(attempt)
        if job_id is None:
            return LogPage((), cursor)
        try:
            found = self.api.get(f"/jobs/{job_id}/logs", offset=cursor, limit=LOG_LINES, level="info")
        except JobNotFound:
            return LogPage((), cursor)
        entries = [one for one in found.get("logs") or () if isinstance(one, Mapping)]
        ids = [str(one.get("id")) for one in entries]
        if cursor in ids:  # some begin with the entry that is named, or with the first, whatever is named
            entries = entries[ids.index(str(cursor)) + 1 :]
        lines: list[str] = []
        size = 0
        for entry in entries:
            text = status.line(entry) + "\n"
            if lines and size + len(text) > LOG_CHARACTERS:
                break
            lines.append(text)
            size += len(text)
            cursor = str(entry.get("id"))
        chunks = (LogChunk(status.STEP, "".join(lines)),) if lines else ()
        return LogPage(chunks, cursor, more=bool(lines) and (len(lines) < len(entries) or len(ids) >= LOG_LINES))

    def steps(self, attempt: Attempt) -> tuple[Step, ...]:
        job = self._job(attempt)
        return () if job is None else (status.step(job, (attempt.handle or {}).get("began")),)

    # ---- results

    def collect(self, attempt: Attempt) -> Collected:
        """The files of the results, by name. Raises PlatformRefused where the job did not succeed."""
        job = self._job(attempt)
        if job is None or status.state(job) is not State.SUCCEEDED:
            raise PlatformRefused(f"The job {attempt.name} has no results there.", code="lost")
        layout = self._fresh(str(job["id"]))
        facts = self._facts(job, derived_from=layout.derived or None, mode="batch")
        step = status.step(job, (attempt.handle or {}).get("began"))
        wanted = (attempt.handle or {}).get("outputs")
        return Collected(layout.outputs(wanted), tuple(part.file() for part in layout.parts), (step,), facts)

    def open(self, attempt: Attempt, ref: str, offset: int) -> BinaryIO:
        """One file; the link of an asset is asked for again where it no longer works."""
        job_id = self._id(attempt)
        if job_id is None:
            raise PlatformRefused(f"The job {attempt.name} has no results there.", code="lost")
        known = self._layout
        good = known is not None and known[0] == job_id and time.monotonic() < known[1]
        part = (known[2] if known is not None and good else self._fresh(job_id)).named(ref)
        if part.text is not None:
            return io.BytesIO(part.text.encode()[offset:])
        return io.BufferedReader(Download(part, self._connect, lambda: self._fresh(job_id).named(ref), offset))

    def _fresh(self, job_id: str) -> Layout:
        """The results, with new links."""
        results = self.api.get(f"/jobs/{job_id}/results")
        layout = Layout(results, [self._item(href) for href in item_links(results)[:MOST]])
        self._layout = (job_id, time.monotonic() + LINKS_SECONDS, layout)
        return layout

    def _item(self, href: str) -> Mapping[str, Any]:
        return self.api.get(href) if self.api.own(href) else self.api.strangers(href)

    def _connect(self, part: Part, offset: int) -> Answer:
        """An asset's link: the token goes to the back-end itself only; other hosts are strangers."""
        url = str(part.href)
        own = self.api.own(url)
        return self.api.egress.open(url, offset, trusted=own, headers=self.api.authorization() if own else {})


def _unseen(name: str, *, young: bool) -> Observation:
    if young:  # a new job may be out of sight for a moment
        return Observation(name, State.QUEUED, "Not to be seen there yet.")
    message = "The platform does not know the job."
    return Observation(name, State.LOST, message, failure=Failure(Fault.PLATFORM, Reason.LOST, message))


def _identifier(headers: Mapping[str, str]) -> str:
    """The id of a new job. Raises PlatformUnavailable: the next try finds the job by its title."""
    found = (
        headers.get("OpenEO-Identifier") or urlsplit(headers.get("Location", "")).path.rstrip("/").rpartition("/")[2]
    )
    if not found:
        raise PlatformUnavailable("The platform made a job without saying which.")
    return found
