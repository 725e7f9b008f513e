"""Has the container engine fetch the images of a job, with the credentials that were released for that and no other.

Runs in a child of the keeper that ends before the engine sees the package. What it was told of credentials is gone
from the disk as soon as it has read it; the file that the container engine reads is gone when it has ended.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from broker.egress import EgressPolicy
from broker.errors import PackageError
from broker.packages.images import DOCKER, Reference
from broker.runner import apptainer
from broker.runner.advice import said_last
from broker.runner.beneath import remove_tree
from broker.runner.isolation import Isolation
from broker.runner.jobdir import JobDir, write_json
from broker.runner.probe import engine_environment, run_told


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is here. `digest`: its registry's, else its id; `runs`: what the container engine is to start,
    which no later pull can make another image."""

    digest: str
    runs: str


def main(job: JobDir, spec: Mapping[str, Any], outcome: Path) -> int:
    """The child's program: writes what is here and why the rest is not. `spec`: what the adapter wrote."""
    accounts: Mapping[str, Mapping[str, str]] = {}
    with contextlib.suppress(FileNotFoundError):
        accounts = json.loads(job.pull.read_bytes())
        job.pull.unlink()
    settings = spec["settings"]
    puller = Puller(
        job, Isolation.from_json(settings["isolation"]), Path(settings["images"]), accounts, settings["pull"]
    )
    found: dict[str, Image] = {}
    missing: dict[str, str] = {}
    for image in spec["images"]:
        got = puller.get(image)
        if isinstance(got, Image):
            found[image] = got
        else:
            missing[image] = got
    told = {
        "found": {image: one.digest for image, one in found.items()},
        "runs": {image: one.runs for image, one in found.items()},
        "missing": missing,
    }
    write_json(outcome, told)
    return 0


class Puller:
    """`images`: where apptainer's images and our own notes are. `rules`: `pins` (image -> digest), `insecure`
    (registries without TLS), `egress` (EgressPolicy.to_json that registries' addresses have to keep to, or None)."""

    def __init__(
        self,
        job: JobDir,
        how: Isolation,
        images: Path,
        accounts: Mapping[str, Mapping[str, str]],
        rules: Mapping[str, Any],
    ) -> None:
        self.job = job
        self.how = how
        self.images = images
        self.accounts = accounts
        self.insecure = frozenset(rules["insecure"])
        self.pins: Mapping[str, str] = rules["pins"]
        self.policy = EgressPolicy.from_json(rules["egress"]) if rules.get("egress") is not None else None

    def get(self, image: str) -> Image | str:
        """The image, or why it is not here."""
        try:
            reference = Reference.parse(image)
        except PackageError as error:
            return error.detail
        reference = reference.pinned(self.pins.get(image))
        if not self._private(reference) and (here := self._here(reference)):
            return here
        said = self._refused(reference.host) or self._pull(reference)
        if said is None:
            return self._here(reference) or "the container engine says that it fetched it, but does not have it"
        return self._built_here(reference) or said

    def _here(self, reference: Reference) -> Image | None:
        if self.how.engine == apptainer.NAME:
            digest = apptainer.digest(self.images, str(reference))
            return Image(digest, str(reference)) if digest else None
        return inspected(self.how, reference)

    def _built_here(self, reference: Reference) -> Image | None:
        """podman calls what is built on the machine localhost/name; a short name may mean that."""
        if not reference.short or reference.digest or self.how.engine != "podman":
            return None
        return inspected(self.how, Reference("localhost", reference.path.removeprefix("library/"), reference.tag))

    # A container engine has one store for everybody. What was fetched with somebody's credential is noted, and from
    # then on the registry is asked by each job, with the credential of its own owner or none.

    def _note(self, reference: Reference) -> Path:
        return self.images / "private" / hashlib.sha256(reference.repository.encode()).hexdigest()

    def _private(self, reference: Reference) -> bool:
        return self._note(reference).exists()

    def _refused(self, host: str) -> str | None:
        """Why the engine may not be sent to a registry: it resolves the name itself, so that this keeps out what has
        a private address, not what changes it in between. An operator's list of registries does that too."""
        if self.policy is None or host in self.insecure:
            return None
        parts = urlsplit(f"//{host}")
        name = parts.hostname or ""
        try:
            found = socket.getaddrinfo(name, parts.port or 443, type=socket.SOCK_STREAM)  # noqa: TID251  judged
        except (OSError, UnicodeError):
            return None  # the engine says what is wrong with it
        why = next((why for *_, address in found if (why := self.policy.judge(name, str(address[0])))), None)
        return f"the registry {host} is refused: {why}; ask the operator to allow it" if why else None

    def _pull(self, reference: Reference) -> str | None:
        """Fetch it; what the engine said where it cannot."""
        account = self.accounts.get(reference.host)
        if account is not None:
            note = self._note(reference)  # before the pull: a child that is killed leaves no image without its note
            note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            note.write_text(reference.repository)
        try:
            return self._fetched(reference, account)
        finally:
            remove_tree(self.job.auth)

    def _fetched(self, reference: Reference, account: Mapping[str, str] | None) -> str | None:
        """Call the engine, with a file that holds the one account, or with its variables where it reads those."""
        image, engine, argv = str(reference), self.how.engine, self.how.engine_argv
        environment = engine_environment()
        plain = reference.host in self.insecure
        if engine == apptainer.NAME:
            options = ("--no-https",) if plain else ()
            own = environment | (apptainer.login(account) if account else {})
            return apptainer.pull(argv, self.images, image, own, options, secret=_secrets(account))
        if engine == "docker":  # whether TLS is needed is the daemon's own setting
            where = ("--config", str(self._login("config.json", reference.host, account).parent)) if account else ()
            command = [*argv, *where, "pull", "--quiet", image]
        else:
            where = ("--authfile", str(self._login("auth.json", reference.host, account))) if account else ()
            command = [*argv, "pull", "--quiet", *(("--tls-verify=false",) if plain else ()), *where, image]
        code, said = run_told(command, environment, _secrets(account))
        return said_last(said) or f"exit code {code}" if code else None

    def _login(self, name: str, host: str, account: Mapping[str, str]) -> Path:
        """The file of logins that engines read, with this account only, readable by nobody else."""
        self.job.auth.mkdir(mode=0o700, exist_ok=True)
        file = self.job.auth / name
        key = "https://index.docker.io/v1/" if host == DOCKER and self.how.engine == "docker" else host
        text = json.dumps({"auths": {key: {"auth": _basic(account)}}})
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as sink:
            sink.write(text)
        return file


def _basic(account: Mapping[str, str]) -> str:
    return base64.b64encode(f"{account['username']}:{account['password']}".encode()).decode()


def _secrets(account: Mapping[str, str] | None) -> tuple[str, ...]:
    """What a registry might repeat in its answer, and nobody may read in a log."""
    return (account["password"], _basic(account)) if account else ()


def inspected(how: Isolation, reference: Reference) -> Image | None:
    """An image that podman or docker has; None where it has not."""
    done = subprocess.run(
        [*how.engine_argv, "image", "inspect", str(reference)],
        env=engine_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        return None
    described = json.loads(done.stdout)[0]
    own_id = str(described.get("Id", "")).removeprefix("sha256:")
    names = [name.partition("@") for name in described.get("RepoDigests") or []]
    ours = [digest for name, _, digest in names if name == reference.repository]
    # an image of many architectures has two: that of its list, which the package was pinned to, and its own
    digest = reference.digest or next(iter(ours), None) or next((one for *_, one in names), f"sha256:{own_id}")
    return Image(digest, f"sha256:{own_id}" if how.engine == "docker" else own_id)
