#!/usr/bin/env python3
"""Puts the locked uv below a directory, with nothing but Python's standard library.

    get_uv.py UV_LOCK DIRECTORY      writes DIRECTORY/uv

uv comes from PyPI: the wheel, its address and its SHA-256 are those in uv.lock, so that it is as pinned as
everything that it installs. Debian's python3 has no pip and no venv, which is why this exists. Where that
address cannot be reached but pip is configured for a mirror, pip fetches it (and checks the same hash).
"""

import hashlib
import io
import platform
import subprocess
import sys
import tempfile
import tomllib
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

MACHINES = {
    ("Linux", "x86_64"): "manylinux_2_17_x86_64",
    ("Linux", "aarch64"): "manylinux_2_17_aarch64",
    ("Darwin", "x86_64"): "macosx_10_12_x86_64",
    ("Darwin", "arm64"): "macosx_11_0_arm64",
}


def locked_wheel(lock: Path) -> tuple[str, str, str]:
    """(version, address, sha256) of the wheel for this machine."""
    tag = MACHINES.get((platform.system(), platform.machine()))
    if tag is None:
        sys.exit(f"get_uv: no uv for {platform.system()} {platform.machine()}; install it and run: make UV=uv ...")
    package = next(p for p in tomllib.loads(lock.read_text())["package"] if p["name"] == "uv")
    wheel = next(w for w in package["wheels"] if tag in w["url"])
    return package["version"], wheel["url"], wheel["hash"].removeprefix("sha256:")


def fetch(version: str, address: str) -> bytes:
    """The wheel's bytes, directly or through pip."""
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return answer.read()
    except (urllib.error.URLError, OSError) as error:
        direct = error
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, f"uv=={version}"]
        if subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0:
            return next(Path(folder).glob("uv-*.whl")).read_bytes()
    sys.exit(f"get_uv: cannot fetch {address}: {direct}\nInstall uv {version} yourself and run: make UV=uv ...")


def main() -> None:
    lock, folder = Path(sys.argv[1]), Path(sys.argv[2])
    version, address, sha256 = locked_wheel(lock)
    wheel = fetch(version, address)
    if hashlib.sha256(wheel).hexdigest() != sha256:
        sys.exit(f"get_uv: what came from {address} is not the locked wheel (SHA-256 differs)")
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        name = next(n for n in archive.namelist() if n.endswith(".data/scripts/uv"))
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / "uv"
        target.with_suffix(".new").write_bytes(archive.read(name))
        target.with_suffix(".new").chmod(0o755)
        target.with_suffix(".new").rename(target)


if __name__ == "__main__":
    main()
