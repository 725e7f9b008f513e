"""A small container image made of this machine's own programs: no registry, no network."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from broker.runner.isolation import Isolation

# Another number where PROGRAMS change.
IMAGE = "localhost/earthcode-broker-test:1"
PROGRAMS = ("sh", "sleep", "cat", "ls", "ln", "true")


def make_image(engine: Isolation) -> str:
    """An image of a few programs with their libraries and a file /etc/made-for-tests, made once; its name."""
    if (
        subprocess.run([*engine.engine_argv, "image", "inspect", IMAGE], check=False, capture_output=True).returncode
        == 0
    ):
        return IMAGE
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        make_root(root)
        archive = shutil.make_archive(str(Path(directory) / "image"), "tar", root)
        subprocess.run([*engine.engine_argv, "import", archive, IMAGE], check=True, capture_output=True)
    return IMAGE


def make_root(root: Path) -> None:
    """The image's root file system, as a directory."""
    for name in ("tmp", "etc", "proc", "sys", "dev"):
        (root / name).mkdir(parents=True)
    (root / "etc" / "made-for-tests").touch()
    for program in PROGRAMS:
        path = shutil.which(program, path="/usr/bin:/bin")
        assert path is not None
        libraries = [word for word in subprocess.check_output(["ldd", path], text=True).split() if word[0] == "/"]
        for source, target in [(path, f"bin/{program}"), *((library, library[1:]) for library in libraries)]:
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            if not (root / target).exists():
                shutil.copy(source, root / target)
