"""Brings the inputs of a job to where it runs: a program of its own that never sees the package.

    python -m broker.runner.stage SPEC.json

SPEC.json (readable by its owner only, since it may hold S3 keys) is what `write_spec` writes: `items`
(StageItem.to_json), `root` (the job's `inputs` directory), `egress` (EgressPolicy.to_json), `s3` (bucket or `*`
-> S3Account.to_json), `ownS3` and `http` (the job owner's; origin -> Authorization) and `hardLinks`. Progress goes to
standard output in lines. Exit code 0: all inputs are there; 1: the last line of standard error is a JSON object with
`fault`, `reason`, `detail` and `hint`.
"""

from __future__ import annotations

import base64
import binascii
import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

from broker.egress import Egress, EgressPolicy
from broker.errors import BrokerError, StagingError
from broker.jobs.model import Failure, Fault, Reason, StageItem
from broker.jobs.secrets import unsigned_link
from broker.runner.fetch import Download, Fetcher, Got, Rules, parsed, unwritable
from broker.runner.jobdir import JobDir, write_json
from broker.runner.stac import expand
from broker.storage.signing import S3Account

MOST_RECEIVED = 2000
_OTHERS = "To run it on what is there now, give the input anew: --input NAME=LINK, or inputs in the request."


def stage(
    items: Sequence[StageItem],
    root: Path,
    egress: Egress,
    report: Callable[[str], None],
    rules: Rules | None = None,
) -> list[dict[str, Any]]:
    """Put every item at `root / item.path`, as read-only files; what came, as `received` says it. `root` is the job's
    `inputs` directory.

    Uses threads, so call it in a process that starts nothing else by fork. What is already there from an earlier
    call is replaced. Raises StagingError and EgressRefused, which name the URL and what to do.
    """
    started = monotonic()
    fetcher = Fetcher(egress, rules or Rules(), report)
    targets = _targets(items, root)
    root.mkdir(parents=True, exist_ok=True)
    downloads: list[Download] = []
    for item, target in zip(items, targets, strict=True):
        fetcher.anonymous = item.packaged
        try:
            downloads += [replace(one, packaged=item.packaged) for one in _prepare(item, target, fetcher)]
        except OSError as problem:
            raise unwritable(f"The input {item.path}", problem) from problem
    fetcher.fetch(downloads)
    report(f"staged {len(items)} inputs: {fetcher.bytes} bytes in {monotonic() - started:.1f} s")
    return received(fetcher.got, root)


def received(got: Sequence[Got], root: Path) -> list[dict[str, Any]]:
    """What was fetched, for the record of the job: path below `inputs`, size, sha256 (hex); of assets of STAC items
    also `stacId` and `location`, without what signs it. The first of very many."""
    found: list[dict[str, Any]] = []
    for one in sorted(got, key=lambda one: one.download.target)[:MOST_RECEIVED]:
        path = str(one.download.target.relative_to(root))
        found.append({"path": path, "size": one.size, "sha256": one.sha256})
        if one.download.stac is not None:
            found[-1] |= {"stacId": one.download.stac}
            if not one.download.trusted:
                found[-1] |= {"location": unsigned_link(one.download.url)}
    return found


def write_spec(
    path: Path,
    items: Sequence[StageItem],
    root: Path,
    policy: EgressPolicy,
    *,
    s3: Mapping[str, S3Account] | None = None,
    hard_links: bool = False,
) -> None:
    """Write the file that the program takes, readable by its owner only from the start."""
    spec = {
        "items": [item.to_json() for item in items],
        "root": str(root),
        "egress": policy.to_json(),
        "s3": {bucket: account.to_json() for bucket, account in (s3 or {}).items()},
        "hardLinks": hard_links,
    }
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(spec, file)


def rules(told: Mapping[str, Any]) -> Rules:
    """What the file says of accounts and credentials: the operator's `s3`; the owner's `ownS3` and `http`."""
    accounts = {bucket: S3Account.from_json(value) for bucket, value in told.get("s3", {}).items()}
    own = {bucket: S3Account.from_json(value) for bucket, value in told.get("ownS3", {}).items()}
    return Rules(s3=accounts, own_s3=own, http=told.get("http", {}), hard_links=bool(told.get("hardLinks")))


def run_spec(spec: Mapping[str, Any], report: Callable[[str], None]) -> None:
    """`stage` with everything from a spec."""
    with Egress(EgressPolicy.from_json(spec.get("egress", {}))) as egress:
        stage(
            [StageItem.from_json(item) for item in spec["items"]],
            Path(spec["root"]),
            egress,
            report,
            rules(spec),
        )


def _targets(items: Sequence[StageItem], root: Path) -> list[Path]:
    """Where the items go; each below `root`, none at or below another's place."""
    taken: set[tuple[str, ...]] = set()
    targets = []
    for item in items:
        parts = tuple(item.path.split("/"))
        if any(part in ("", ".", "..") or "\0" in part for part in parts) or not _encodable(item.path):
            raise StagingError(f"{item.path!r} is not a usable path for an input.")
        if parts in taken:
            raise StagingError(f"Two inputs would be written to {item.path}.")
        taken.add(parts)
        targets.append(root.joinpath(*parts))
    for parts in taken:
        if any(parts[:length] in taken for length in range(1, len(parts))):
            raise StagingError(f"The input {'/'.join(parts)} would be written into another input.")
    return targets


def _encodable(path: str) -> bool:
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return False
    return True


def _prepare(item: StageItem, target: Path, fetcher: Fetcher) -> list[Download]:
    """Do what needs no large transfer; give the transfers that remain."""
    sources = [source for source in (item.url, item.text, item.data) if source is not None]
    if len(sources) > 1 or not (sources or item.directory):
        raise StagingError(f"The input {item.path} has {len(sources)} sources where it needs one.")
    _clear(target)
    if item.stac or item.directory:
        target.mkdir(parents=True)
        if not sources:
            return []
        document, url = _document(item, fetcher)
        return list(_expected(item, target, expand(document, url, target, fetcher)))
    if item.url is not None:
        return [Download(item.url, target, item.path, item.trusted, item.size, item.sha256)]
    raw = _by_value(item)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        file.write(raw)
    target.chmod(0o444)
    fetcher.say(f"wrote {item.path} ({len(raw)} bytes)")
    return []


def _expected(item: StageItem, target: Path, downloads: Sequence[Download]) -> Iterator[Download]:
    """The downloads of a directory with the checksums that its files are known to have. Raises StagingError for one
    that is not there any more, or that its STAC document says is another: before anything large is moved."""
    files, said = item.files or {}, {str(one.target.relative_to(target)): one for one in downloads}
    for path, digest in files.items():
        name = f"{item.path}/{path}"
        if path not in said:
            raise StagingError(f"{name} is not there any more: the input has changed since then.", hint=_OTHERS)
        if said[path].sha256 not in (None, digest):
            raise StagingError(f"{name} is not the expected file: its sha256 is {said[path].sha256}.", hint=_OTHERS)
        said[path] = replace(said[path], sha256=digest, name=name)
    yield from said.values()


def _document(item: StageItem, fetcher: Fetcher) -> tuple[Any, str | None]:
    if item.url is not None:
        return fetcher.document(item.url, trusted=item.trusted)
    return parsed(_by_value(item), f"The input {item.path}"), None


def _by_value(item: StageItem) -> bytes:
    if item.text is not None:
        return item.text.encode()
    try:
        return base64.b64decode(item.data or "", validate=True)
    except (binascii.Error, ValueError) as problem:
        raise StagingError(f"The input {item.path} is not valid base64: {problem}.") from problem


def _clear(target: Path) -> None:
    """Remove what an earlier, interrupted run left."""
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def stage_job(job: JobDir, outcome: Path) -> int:
    """The staging of a job, in a process of its own; what became of it goes to the file `outcome`."""
    told = json.loads(job.stage.read_bytes())
    job.stage.unlink()
    items = [StageItem.from_json(item) for item in told["items"]]
    failure: Failure | None = None
    came: list[dict[str, Any]] = []
    try:
        with Egress(EgressPolicy.from_json(told["egress"])) as egress:
            came = stage(items, job.inputs, egress, print, rules(told))
    except BrokerError as error:
        fault = Fault.STAGING if error.fault == "broker" else Fault(error.fault)
        failure = Failure(fault, Reason.STORAGE if error.fault == "broker" else Reason.INPUT_UNREACHABLE, str(error))
    except OSError as error:
        reason = Reason.STORAGE if error.errno in (errno.ENOSPC, errno.EDQUOT) else Reason.INPUT_UNREACHABLE
        failure = Failure(Fault.STAGING, reason, f"An input could not be written: {error.strerror}.")
    write_json(outcome, {"failure": failure.to_json() if failure else None, "received": came})
    return 0


def main(arguments: Sequence[str]) -> int:
    """The program; gives its exit code."""
    if len(arguments) != 1:
        print("usage: python -m broker.runner.stage SPEC.json", file=sys.stderr)
        return 2
    try:
        run_spec(json.loads(Path(arguments[0]).read_text()), lambda line: print(line, flush=True))
    except BrokerError as problem:
        told = {
            "fault": problem.fault,
            "reason": problem.reason,
            "detail": problem.detail,
            "hint": problem.hint,
        }
        print(json.dumps(told), file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
