"""Moves the bytes of inputs into files: resumed after a broken connection, retried, checked, several at a time."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes, urlsplit

from broker.egress import Egress, FetchError, shown
from broker.errors import StagingError
from broker.jobs.secrets import origin
from broker.runner.partial import Partial
from broker.storage.local import link_open, open_regular
from broker.storage.signing import S3Account

T = TypeVar("T")

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_SIGNED_FOR = 3600.0  # seconds; every attempt signs anew
_ENOUGH = 2**20  # bytes: an attempt that moved so many does not count as a failed one


@dataclass(frozen=True, slots=True)
class Rules:
    """How staging behaves. `s3`: the operator's accounts by bucket name, `*` for all others. `own_s3` by bucket and
    `http` (origin -> Authorization): of the person whose job it is, whose endpoints are addresses like any other
    that a person gives. `hard_links`: trusted local files
    may be linked instead of copied; only where the job cannot write to its inputs (a read-only mount).
    `pause`: seconds before the first retry, doubled each time. `total_bytes` bounds all files together; `items`,
    `depth`, `document_bytes` (one) and `documents_bytes` (all) bound a STAC input."""

    s3: Mapping[str, S3Account] = field(default_factory=dict)
    own_s3: Mapping[str, S3Account] = field(default_factory=dict)
    http: Mapping[str, str] = field(default_factory=dict, repr=False)
    hard_links: bool = False
    parallel: int = 4
    retries: int = 3
    pause: float = 0.5
    total_bytes: int = 500 * 2**30
    items: int = 10_000
    depth: int = 16
    document_bytes: int = 16 * 2**20
    documents_bytes: int = 512 * 2**20


@dataclass(frozen=True, slots=True)
class Download:
    """One file to fetch; `name` is what messages call it; `packaged`: without the credentials of a person; `stac`: the
    id of the item that it is an asset of."""

    url: str
    target: Path
    name: str
    trusted: bool = False
    size: int | None = None
    sha256: str | None = None
    packaged: bool = False
    stac: str | None = None


@dataclass(frozen=True, slots=True)
class Got:
    """A file that was fetched: bytes, and sha256 (hex)."""

    download: Download
    size: int
    sha256: str


class Fetcher:
    """Downloads under one set of rules; `report` is told in lines, from any thread but one at a time."""

    def __init__(self, egress: Egress, rules: Rules, report: Callable[[str], None]) -> None:
        self.rules = rules
        self._egress = egress
        self._report = report
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._told = time.monotonic()
        self.bytes = 0
        self.got: list[Got] = []
        self.anonymous = False  # while an item is prepared that the package asks for, not the person
        self._documents = 0

    def say(self, line: str) -> None:
        # Names in it come from others: no line breaks, no escape sequences, nothing that cannot be printed.
        safe = "".join(char if char.isprintable() else "?" for char in line)
        with self._lock:
            self._report(safe)

    def can_reach(self, url: str) -> bool:
        """Whether there is a way to this URL at all: False for an S3 bucket that is not configured."""
        scheme = url.partition(":")[0].lower()
        return scheme in ("http", "https") or (scheme == "s3" and self._account(url, self.anonymous) is not None)

    def demand(self, urls: Iterable[str]) -> None:
        """Raise the StagingError of the first S3 URL that is not configured, where there is one."""
        for url in urls:
            if url.lower().startswith("s3:"):
                self._address(url, trusted=False, anonymous=self.anonymous)

    def document(self, url: str, *, trusted: bool = False) -> tuple[Any, str]:
        """A JSON document, and the address where it was in the end. Raises StagingError."""
        limit = self.rules.document_bytes
        if not url.startswith("file:"):
            raw, place = self._retried(lambda: self._small(url, limit, trusted=trusted))
            self._count_document(len(raw))
            return parsed(raw, shown(url)), url if url.lower().startswith("s3:") else place
        with _local(url, trusted=trusted) as file:
            raw = file.read(limit + 1)
        if len(raw) > limit:
            raise StagingError(f"A STAC document is larger than {limit} bytes.")
        self._count_document(len(raw))
        return parsed(raw, url.rpartition("/")[2]), url

    def _count_document(self, size: int) -> None:
        with self._lock:
            self._documents += size
        if self._documents > self.rules.documents_bytes:
            raise StagingError(
                f"The STAC documents have more than {self.rules.documents_bytes} bytes.", hint="Select fewer items."
            )

    def documents(self, urls: Sequence[tuple[str, bool]]) -> list[tuple[Any, str]]:
        """`document` for each (URL, trusted), several at a time, in this order."""
        with ThreadPoolExecutor(max_workers=max(1, min(self.rules.parallel, len(urls)))) as pool:
            return list(pool.map(lambda one: self.document(one[0], trusted=one[1]), urls))

    def fetch(self, downloads: Sequence[Download]) -> None:
        """All of them, or StagingError (or EgressRefused) for the first that fails."""
        with ThreadPoolExecutor(max_workers=max(1, min(self.rules.parallel, len(downloads)))) as pool:
            running = [pool.submit(self._one, download) for download in downloads]
            try:
                wait(running, return_when=FIRST_EXCEPTION)
                failed = [task for task in running if task.done() and task.exception() is not None]
                for task in failed or running:
                    task.result()
            finally:
                self._stop.set()  # the others give up at their next chunk
                for task in running:
                    task.cancel()
        self._stop.clear()

    def _one(self, download: Download) -> None:
        if self._stop.is_set():
            return
        target = download.target
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            size, digest = self._copy(download) if download.url.startswith("file:") else self._get(download)
            target.chmod(0o444)
        except OSError as problem:
            raise unwritable(download.name, problem) from problem
        with self._lock:
            self.got.append(Got(download, size, digest))
        self.say(f"staged {download.name} ({size} bytes)")

    def _copy(self, download: Download) -> tuple[int, str]:
        with _local(download.url, trusted=download.trusted) as source:
            size = os.fstat(source.fileno()).st_size
            self._count(size, download.name, None)
            if not (self.rules.hard_links and link_open(source.fileno(), download.target)):
                with download.target.open("xb") as out:
                    shutil.copyfileobj(source, out, 2**20)
            # what the broker keeps was hashed when it came; what a STAC document says of its assets was not
            source.seek(0)
            known = download.sha256 if download.stac is None else None
            digest = known or hashlib.file_digest(source, "sha256").hexdigest()
        _check(download, size, digest)
        return size, digest

    def _get(self, download: Download) -> tuple[int, str]:
        with Partial(download.url, download.target) as part:
            self._retried(lambda: self._pull(download, part), lambda: part.done)
        _check(download, part.done, part.digest)
        return part.done, part.digest

    def _pull(self, download: Download, part: Partial) -> None:
        """One attempt: from where the last one ended, where the server can do that."""
        url, trusted, headers = self._address(download.url, trusted=download.trusted, anonymous=download.packaged)
        if not part.resumable:
            part.restart()
        with _called(download):
            try:
                answer = self._egress.open(url, part.done, validator=part.validator, trusted=trusted, headers=headers)
            except FetchError as problem:
                if problem.status == 416:  # what we have is not a beginning of what is there now
                    part.restart()
                    problem.transient = True
                raise
            with answer:
                part.accept(answer)
                for chunk in answer:
                    self._count(len(chunk), download.name, answer.size)
                    part.write(chunk)
                if answer.size is not None and part.done != answer.size:
                    raise FetchError(f"{shown(url)} ended after {part.done} bytes.", url=url, transient=True)

    def _count(self, more: int, name: str, of: int | None) -> None:
        if self._stop.is_set():
            raise StagingError("Another input could not be fetched.")
        with self._lock:
            self.bytes += more
            if self.bytes > self.rules.total_bytes:
                raise StagingError(
                    f"The inputs are larger than {self.rules.total_bytes} bytes together.",
                    hint="Use smaller inputs, or ask the operator to raise the limit.",
                )
            now = time.monotonic()
            if now - self._told >= 5:
                self._told = now
                self._report(f"fetching {name}" + (f" ({of} bytes)" if of else "") + f": {self.bytes} bytes so far")

    def _small(self, url: str, limit: int, *, trusted: bool) -> tuple[bytes, str]:
        address, trusted, headers = self._address(url, trusted=trusted, anonymous=self.anonymous)
        accept = {"Accept": "application/geo+json, application/json;q=0.9, */*;q=0.1", **headers}
        with self._egress.open(address, trusted=trusted, headers=accept, limit=limit) as answer:
            return answer.read(), answer.url

    def _retried(self, attempt: Callable[[], T], moved: Callable[[], int] = lambda: 0) -> T:
        """What `attempt` gives, tried again after transient errors; attempts that moved bytes are not held against
        it. Raises StagingError, EgressRefused."""
        failures = 0
        while True:
            before = moved()
            try:
                return attempt()
            except FetchError as problem:
                failures = 1 if moved() - before >= _ENOUGH else failures + 1
                if not problem.transient or failures > self.rules.retries:
                    raise
                pause = max(self.rules.pause * 2 ** (failures - 1), min(problem.retry_after or 0.0, 30.0))
                self.say(f"{problem.detail} Trying again in {pause:g} s.")
                self._stop.wait(pause)

    def _account(self, url: str, anonymous: bool) -> tuple[S3Account, bool] | None:
        """The account for an S3 URL, and whether it is the operator's; the person's own comes first."""
        bucket = _bucket_and_key(url)[0]
        if not anonymous and bucket in self.rules.own_s3:
            return self.rules.own_s3[bucket], False
        found = self.rules.s3.get(bucket) or self.rules.s3.get("*")
        return None if found is None else (found, True)

    def _address(self, url: str, *, trusted: bool, anonymous: bool) -> tuple[str, bool, dict[str, str]]:
        """Where a URL is fetched, whether that is a trusted address, and the headers for it.

        An s3 URL becomes a signed one, which is trusted where the operator named the endpoint. A person's credential
        goes to its own origin only: egress takes it away where that redirects to another.
        """
        if not url.lower().startswith("s3:"):
            known = None if anonymous or trusted else self.rules.http.get(origin(url) or "")
            return url, trusted, {"Authorization": known} if known else {}
        bucket, key = _bucket_and_key(url)
        found = self._account(url, anonymous)
        if found is None:
            raise StagingError(
                f"{shown(url)} is in object storage that this platform is not set up for.",
                hint=f"Use an https link, keep a credential (broker credential add NAME s3 {bucket}), "
                f"or ask the operator to configure access to the bucket {bucket}.",
            )
        account, operators = found
        return account.signed(bucket, key, _SIGNED_FOR), operators, {}


def unwritable(name: str, problem: OSError) -> StagingError:
    full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
    return StagingError(
        f"{name} cannot be written on the platform: {problem.strerror or problem}.",
        hint="Try again later, or ask the operator of the platform for more space." if full else None,
    )


def parsed(raw: bytes | str, name: str) -> Any:
    """JSON, or a StagingError that says what a directory has to be."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise StagingError(
            f"{name} is not a STAC document: it is not JSON.",
            hint="A directory input is given as a STAC item, collection or catalog; a web directory cannot be fetched.",
        ) from problem


def local_path(url: str) -> Path:
    """The path in a `file:` URL, also where its bytes are no UTF-8."""
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(url).path)))


@contextmanager
def _called(download: Download) -> Iterator[None]:
    """Errors name what the user gave: not the address of an object storage behind it, which may be internal."""
    try:
        yield
    except FetchError as problem:
        s3 = download.url.lower().startswith("s3:")
        if s3 or download.trusted:
            problem.detail = problem.detail.replace(shown(problem.url), shown(download.url) if s3 else download.name)
            problem.args = (problem.detail,)
        raise


def _local(url: str, *, trusted: bool) -> BufferedReader:
    """The file of a `file:` link that the broker made. Raises StagingError."""
    parts = urlsplit(url)
    if not trusted or parts.netloc not in ("", "localhost"):
        raise StagingError(f"{url} is a file of the server.", hint="Use an https link, or upload the file.")
    try:
        return open_regular(local_path(url))
    except (OSError, ValueError) as problem:
        name = parts.path.rpartition("/")[2]
        raise StagingError(f"{name} is no longer in the broker's storage.", hint="Upload it again.") from problem


def _bucket_and_key(url: str) -> tuple[str, str]:
    """Of an s3 URL, whose key is literal: `#` and `?` belong to it."""
    bucket, _, key = url.partition("://")[2].partition("/")
    if not _BUCKET.fullmatch(bucket) or not key:
        raise StagingError(f"{shown(url)} is not an S3 address.", hint="Write s3://bucket/key.")
    return bucket, key


def _check(download: Download, size: int, digest: str | None) -> None:
    if download.size is not None and size != download.size:
        raise StagingError(f"{download.name} has {size} bytes where {download.size} were expected.")
    if download.sha256 is not None and digest not in (None, download.sha256.lower()):
        raise StagingError(f"{download.name} is not the expected file: its sha256 is {digest}.")
