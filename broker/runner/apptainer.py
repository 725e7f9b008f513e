"""Apptainer as container engine: the command lines that find out whether it works, fetch images and run tools.

By its documentation (apptainer.org/docs/user: "apptainer run", "Bind Paths and Mounts", "Network virtualization");
needs 1.1 or later, for `--no-eval`. It has no daemon and no names of containers: what it runs are our own processes.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from broker.runner.advice import said_last
from broker.runner.jobdir import read_json, write_json
from broker.runner.probe import run_told, trial

NAME = "apptainer"
NO_NETWORK = ("--net", "--network=none")  # the one network that every user may ask for
_ALONE = (
    "--containall",  # no home, no /tmp and no devices of the host; namespaces of its own for processes and IPC
    "--cleanenv",
    "--no-eval",  # values of variables are values, as in podman
    "--no-mount=bind-paths,hostfs",  # what apptainer.conf adds to every container
)
_CHUNK = 1024 * 1024


def find(
    program: str, engine_args: Sequence[str], environment: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...]] | str:
    """How to call it, and what `run` needs here, found by starting a container; or why it does not work.

    The container is an empty directory with our /usr, as for the other engines.
    """
    if os.geteuid() == 0:
        # Nothing hides /proc/sys from a tool there, which is the user root of the machine, with all that it may write.
        return "run by root it does not keep tools from the machine; run the broker as an ordinary user"
    call = (program, *engine_args)
    said: str | None = None
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        for name in ("usr", "proc", "sys", "dev", "etc", "tmp", "var/tmp", "root", "home"):
            (root / name).mkdir(parents=True)
        for name in ("bin", "lib", "lib64"):
            (root / name).symlink_to(f"usr/{name}")
        # Writing to the image's own directories, as podman lets tools do, needs an overlay: not every kernel has it.
        for run_args in (("--writable-tmpfs",), ()):
            options = (*_ALONE, *NO_NETWORK, *run_args, "--mount=type=bind,source=/usr,target=/usr,readonly")
            said = trial([*call, "--quiet", "exec", *options, str(root), "/usr/bin/true"], environment)
            if said is None:
                return call, run_args
    return said or "no container started"


def words(argv: Sequence[str], run_args: Sequence[str], outdir: str, inside: str, *, network: bool) -> list[str]:
    """The command up to the mounts: `outdir` of the host is the tool's home and working directory, at `inside`."""
    own = () if network else NO_NETWORK
    where = (f"--home={outdir}:{inside}", f"--pwd={inside}")
    # run, not exec: the image's entry point is to see the command line, as in the other engines.
    return [*argv, "--quiet", "run", *_ALONE, *own, *run_args, *where]


def variables(environment: Mapping[str, str]) -> dict[str, str]:
    """What gives a tool its variables: through our own environment, where a comma is a comma. HOME is `--home`'s."""
    return {f"APPTAINERENV_{name}": value for name, value in environment.items() if name != "HOME"}


def file_of(images: Path, image: str) -> Path:
    """Where the SIF file of an image is, or is to be."""
    return images / f"{hashlib.sha256(image.encode()).hexdigest()}.sif"


def digest(images: Path, image: str) -> str | None:
    """The digest of an image whose SIF file is here; None where it is not."""
    place = file_of(images, image)
    known = read_json(place.with_suffix(".json")) if place.exists() else None
    return str(known["digest"]) if known else None


def login(account: Mapping[str, str]) -> dict[str, str]:
    """How apptainer is told an account of a registry (its documentation: "Authentication")."""
    return {"APPTAINER_DOCKER_USERNAME": account["username"], "APPTAINER_DOCKER_PASSWORD": account["password"]}


def pull(
    argv: Sequence[str],
    images: Path,
    image: str,
    environment: Mapping[str, str],
    options: Sequence[str] = (),
    *,
    secret: Sequence[str] = (),
) -> str | None:
    """Fetch an image into its SIF file below `images`; what apptainer said where it cannot, without what is `secret`.

    Its digest is the registry's where the image is named by it, else `sha256:…` of the SIF file: apptainer tells no
    other, and those are the bytes that run.
    """
    images.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = file_of(images, image)
    with tempfile.TemporaryDirectory(dir=images, prefix=".pull") as directory:
        partial = Path(directory) / place.name
        own = {**environment, "APPTAINER_TMPDIR": directory, "APPTAINER_CACHEDIR": directory}
        command = [*argv, "pull", "--disable-cache", *options, str(partial), f"docker://{image}"]
        code, said = run_told(command, own, secret)
        if code:
            return said_last(said) or f"exit code {code}"
        known = image.rpartition("@")[2] if "@sha256:" in image else f"sha256:{_sha256(partial)}"
        # Two jobs that fetch one image at a time both have a whole one.
        partial.replace(place)
        write_json(place.with_suffix(".json"), {"image": image, "digest": known})
    return None


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()
