"""Objects in an S3 bucket, with obstore.

obstore runs threads of its own from the first request on, so a process that forks afterwards (a Celery worker's
parent) must not have used it: the child would wait for threads it does not have. Here that is an error, at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from broker.errors import NoSuchFile, StorageError, StorageFull
from broker.storage import Kept, Progress, keys
from broker.storage.local import open_regular
from broker.storage.signing import S3Account

PART = 16 * 2**20  # bytes of one part of a multipart upload: 10,000 parts make 160 GiB
_PARALLEL = 3  # parts in flight, so three times PART of memory for each upload
_CHUNK = 1024 * 1024
_LARGEST_COPY = 5 * 2**30  # bytes
_used_by: set[int] = set()  # the process whose threads obstore has
_FULL_CODES = ("QuotaExceeded", "StorageFull", "InsufficientStorage", "507 ", "EntityTooLarge")


class S3Storage:
    """Storage in `bucket`, below `prefix`. `public`: the same service under the address that users reach; without
    it `public_link` gives None and the API serves the bytes. `part`: bytes of one part of a multipart upload."""

    def __init__(
        self,
        account: S3Account,
        bucket: str,
        prefix: str = "",
        *,
        public: S3Account | None = None,
        part: int = PART,
    ) -> None:
        self._account = account
        self._part = part
        self._bucket = bucket
        self._prefix = prefix.strip("/")
        self._public = public
        self._store = S3Store(
            bucket,
            config={
                "region": account.region,
                "virtual_hosted_style_request": account.virtual_hosted,
                **({"endpoint": _endpoint(account, bucket)} if account.endpoint else {}),
                **({"access_key_id": account.access_key} if account.access_key else {}),
                **({"secret_access_key": account.secret_key} if account.secret_key else {}),
                **({"session_token": account.session_token} if account.session_token else {}),
            },
            client_options={
                "allow_http": (account.endpoint or "").startswith("http://"),
                "connect_timeout": timedelta(seconds=5),
                "timeout": timedelta(seconds=300),
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=60)},
        )

    def __repr__(self) -> str:
        return f"S3Storage({self._account.endpoint or 'AWS'}, {self._bucket}/{self._prefix})"

    def keep(
        self, key: str, source: BinaryIO, *, media_type: str | None = None, progress: Progress | None = None
    ) -> Kept:
        """See `Storage.keep`. More than one part go as a multipart upload, which is given up when `source` fails."""
        name = self._name(key)
        flow = _Flow(source, progress)
        first = b"".join(flow.take(self._part))
        kind = {"Content-Type": media_type} if media_type else None
        with _storage_errors(key, flow):
            if len(first) < self._part:
                obstore.put(self._store, name, first, attributes=kind, use_multipart=False)
            else:
                obstore.put(
                    self._store,
                    name,
                    flow.after(first),
                    attributes=kind,
                    use_multipart=True,
                    chunk_size=self._part,
                    max_concurrency=_PARALLEL,
                )
                if (there := self._head(name)) != flow.size:
                    obstore.delete(self._store, name)
                    raise StorageError(f"{key} arrived in storage with {there} bytes instead of {flow.size}.")
        return Kept(key, flow.size, flow.digest.hexdigest(), media_type)

    def adopt(
        self,
        key: str,
        path: Path,
        *,
        sha256: str | None = None,
        size: int | None = None,
        media_type: str | None = None,
    ) -> Kept:
        """See `Storage.adopt`: an upload, whose sha256 is compared where one is given."""
        try:
            source = open_regular(path)
        except OSError as problem:
            raise StorageError(f"{key} cannot be read: {problem.strerror}.") from problem
        with source:
            kept = self.keep(key, source, media_type=media_type)
        if size not in (None, kept.size) or sha256 not in (None, kept.sha256):
            self.delete(key)
            raise StorageError(f"{key} is not the file that was announced: it has {kept.size} bytes, {kept.sha256}.")
        return kept

    def copy(self, source: str, key: str) -> None:
        """See `Storage.copy`: within the bucket, but for what is larger than S3 copies in one request."""
        name, target = self._name(source), self._name(key)
        with _storage_errors(key):
            size = self._head(name)
            if size is None:
                raise NoSuchFile(f"There is no stored file {source}.")
            if size <= _LARGEST_COPY:
                obstore.copy(self._store, name, target)
                return
            chunks = _elsewhere(self.open(source))
            obstore.put(self._store, target, chunks, use_multipart=True, chunk_size=self._part)
            if self._head(target) != size:
                obstore.delete(self._store, target)
                raise StorageError(f"{key} was not copied as a whole.")

    def open(self, key: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        """See `Storage.open`."""
        name = self._name(key)
        with _storage_errors(key):
            size = self._head(name)
            if size is None:
                raise NoSuchFile(f"There is no stored file {key}.")
            end = size if length is None else min(size, start + length)
            if start >= end:
                return iter(())
            result = obstore.get(self._store, name, options={"range": (start, end)})
        return _chunks(key, iter(result.stream(_CHUNK)))

    def size(self, key: str) -> int | None:
        """See `Storage.size`."""
        with _storage_errors(key):
            return self._head(self._name(key))

    def sweep(self, older_than: float = 24 * 3600.0) -> int:
        """Nothing: unfinished multipart uploads are the business of the bucket's lifecycle rule."""
        return 0

    def delete(self, key: str) -> None:
        """See `Storage.delete`."""
        with _storage_errors(key):
            self._delete(self._name(key))

    def delete_prefix(self, prefix: str) -> None:
        """See `Storage.delete_prefix`."""
        with _storage_errors(prefix):
            for page in obstore.list(self._store, self._name(prefix.rstrip("/"))):
                self._delete([entry["path"] for entry in page])

    def free(self) -> None:
        """None: S3 does not say."""
        return

    def link(self, key: str, seconds: float) -> str:
        """A signed URL at the endpoint that the broker itself uses."""
        with _storage_errors(key):
            return obstore.sign(self._store, "GET", self._name(key), timedelta(seconds=max(1, int(seconds))))

    def public_link(
        self, key: str, seconds: float, filename: str | None = None, media_type: str | None = None
    ) -> str | None:
        """See `Storage.public_link`. Always an attachment: what a package wrote is not to run in a browser."""
        if self._public is None or self._public.access_key is None:
            return None
        name = quote(filename or key.rpartition("/")[2], safe="", errors="replace")
        query = {"response-content-disposition": f"attachment; filename*=UTF-8''{name}"}
        if media_type:
            query["response-content-type"] = media_type
        return self._public.signed(self._bucket, self._name(key), seconds, query=query)

    def _name(self, key: str) -> str:
        return f"{self._prefix}/{keys.object_name(key)}".removeprefix("/")

    def _delete(self, names: str | list[str]) -> None:
        with suppress(FileNotFoundError):  # it was gone already
            obstore.delete(self._store, names)

    def _head(self, name: str) -> int | None:
        try:
            return obstore.head(self._store, name)["size"]
        except FileNotFoundError:
            return None


def _elsewhere(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same, read in a thread of its own: within one call of obstore there may not be another one."""
    with ThreadPoolExecutor(1) as reader:
        while chunk := reader.submit(next, chunks, b"").result():
            yield chunk


class _Flow:
    """Reads a source in chunks and keeps account of it."""

    def __init__(self, source: BinaryIO, progress: Progress | None) -> None:
        self._source = source
        self._progress = progress
        self.digest = hashlib.sha256()
        self.size = 0
        self.reading = False  # stays True when the source, or who watches it, raised

    def take(self, limit: int | None) -> Iterator[bytes]:
        """Chunks until `limit` bytes or the end."""
        left = limit
        while True:
            self.reading = True
            chunk = self._source.read(_CHUNK if left is None else min(_CHUNK, left))
            self.digest.update(chunk)
            self.size += len(chunk)
            if self._progress is not None and chunk:
                self._progress(self.size)
            self.reading = False
            if not chunk:
                return
            yield chunk
            if left is not None:
                left -= len(chunk)

    def after(self, first: bytes) -> Iterator[bytes]:
        yield first
        yield from self.take(None)


@contextmanager
def _storage_errors(what: str, flow: _Flow | None = None) -> Iterator[None]:
    """obstore's errors as StorageError; their text (which names the endpoint) stays in `__cause__`. What `flow`'s
    source raised comes through."""
    _used_by.add(os.getpid())
    if len(_used_by) > 1:
        raise StorageError("Object storage was used before this process was forked, so it cannot be used here.")
    try:
        yield
    except FileNotFoundError as problem:
        if flow is not None and flow.reading:
            raise
        raise StorageError(f"{what}: the bucket is not there.", hint="Create it, or mend the settings.") from problem
    except (BaseError, ValueError) as problem:
        if flow is not None and flow.reading:
            raise
        text = str(problem)
        if any(code in text for code in _FULL_CODES):
            raise StorageFull("The object storage has no space left.") from problem
        refused = "SignatureDoesNotMatch" in text or "InvalidAccessKeyId" in text or "403 Forbidden" in text
        hint = "Check the keys of the storage in the settings." if refused else None
        raise StorageError(f"{what} cannot be stored or read in object storage.", hint=hint) from problem


def _chunks(key: str, stream: Iterator[object]) -> Iterator[bytes]:
    with _storage_errors(key):
        for chunk in stream:
            yield bytes(chunk)  # type: ignore[call-overload]


def _endpoint(account: S3Account, bucket: str) -> str:
    """obstore wants the bucket in the endpoint where the bucket is part of the host name."""
    endpoint = account.endpoint or ""
    if not account.virtual_hosted:
        return endpoint
    scheme, _, host = endpoint.partition("://")
    return f"{scheme}://{bucket}.{host}"
