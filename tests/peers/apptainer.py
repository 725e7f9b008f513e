"""A stand-in for apptainer: takes the command line that its documentation gives, and runs the command by bubblewrap.

Deviations from the real one: an image is a tar of a root file system (one image is known, `image.IMAGE`; any other is
"not found"), or a directory; only the options below are known, any other is an error, as an unknown one is to
apptainer; there is no overlay, so that an image is extracted for each run (and is writable whether or not
--writable-tmpfs is given); entry points of images are not known, so that `run` is `exec`; setuid, fakeroot, cgroups
and GPUs are not there. What a container has of the host without --containall (home, /tmp, the network without --net)
is not imitated: a call without --containall, --cleanenv or --no-eval is refused, because this project must not make it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FATAL = 255


def main() -> int:
    parser = argparse.ArgumentParser(prog="apptainer", allow_abbrev=False)
    parser.add_argument("--quiet", action="store_true")
    commands = parser.add_subparsers(dest="command", required=True)
    pull = commands.add_parser("pull", allow_abbrev=False)
    pull.add_argument("--disable-cache", action="store_true")
    pull.add_argument("file", type=Path)
    pull.add_argument("uri")
    for name in ("run", "exec"):
        _run_options(commands.add_parser(name, allow_abbrev=False))
    options = parser.parse_args()
    return _pull(options) if options.command == "pull" else _run(options)


def _run_options(parser: argparse.ArgumentParser) -> None:
    for flag in ("--containall", "--cleanenv", "--no-eval"):
        parser.add_argument(flag, action="store_true", required=True)
    for flag in ("--writable-tmpfs", "--net"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("--no-mount")
    parser.add_argument("--network", choices=["none"])
    parser.add_argument("--home")
    parser.add_argument("--pwd")
    parser.add_argument("--mount", action="append", default=[])
    parser.add_argument("image", type=Path)
    parser.add_argument("words", nargs=argparse.REMAINDER)


def _pull(options: argparse.Namespace) -> int:
    from tests.peers.image import IMAGE, make_root

    if options.uri != f"docker://{IMAGE}":
        print(f"FATAL:   While making image from oci registry: {options.uri}: not found", file=sys.stderr)
        return FATAL
    with tempfile.TemporaryDirectory() as directory:
        make_root(Path(directory))
        with tarfile.open(options.file, "x") as archive:
            archive.add(directory, "")
    return 0


def _run(options: argparse.Namespace) -> int:
    if options.network and not options.net:
        print("FATAL:   --network needs --net", file=sys.stderr)
        return FATAL
    with tempfile.TemporaryDirectory() as directory:
        root = options.image
        if root.is_file():
            root = Path(directory)
            with tarfile.open(options.image) as archive:
                archive.extraction_filter = staticmethod(lambda member, path: member)  # Debian 12 has no filter=
                archive.extractall(root)
        return subprocess.run(_bubblewrap(options, root), env={}, check=False).returncode


def _bubblewrap(options: argparse.Namespace, root: Path) -> list[str]:
    from broker.runner.isolation import bwrap_path

    args = [str(bwrap_path()), "--unshare-all", "--die-with-parent", "--bind", str(root), "/"]
    if not options.net:
        args.append("--share-net")
    args += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--setenv", "PATH", "/usr/bin:/bin"]
    if options.home:
        source, _, target = options.home.partition(":")
        args += ["--bind", source, target, "--setenv", "HOME", target]
    for mount in options.mount:
        fields = dict(part.partition("=")[::2] for part in mount.split(","))
        kind = "--ro-bind" if "readonly" in fields or "ro" in fields else "--bind"
        args += [kind, fields["source"], fields["target"]]
    for name, value in os.environ.items():
        if name.startswith("APPTAINERENV_"):
            args += ["--setenv", name.removeprefix("APPTAINERENV_"), value]
    return [*args, *(["--chdir", options.pwd] if options.pwd else []), "--", *options.words]


if __name__ == "__main__":
    sys.exit(main())
