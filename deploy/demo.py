"""`make demo`: a broker of its own, a real scene, the results compared with what was expected. Standard library only.

Uses a state directory below build/demo and a free port, so that it disturbs nothing.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
PACKAGE = HERE / "workflows" / "water-bodies"
DEMO = HERE / "build" / "demo"
BROKER = [sys.executable, "-m", "broker.cli"]
START_SECONDS = 90


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until_up(url: str, up: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if up.poll() is not None:
            sys.exit(f"The broker ended while it started (exit {up.returncode}). See {DEMO / 'broker.log'}")
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"The broker did not get ready in {START_SECONDS} s. See {DEMO / 'broker.log'}")


def main() -> int:
    started = time.monotonic()
    results = DEMO / "results"
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir(parents=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {
        "BROKER_STATE": str(DEMO / "state"),
        "BROKER_API__PORT": str(port),
        "BROKER_PLATFORMS__LOCAL__SOFTWARE": str(HERE / ".software" / "eo"),
        "BROKER_SERVER": url,
    }
    print(f"1. Starting a broker on {url}", flush=True)
    with (DEMO / "broker.log").open("wb") as log:
        up = subprocess.Popen([*BROKER, "up"], env=environment, stdout=log, stderr=log)
    try:
        wait_until_up(url, up)
        print(f"2. Running {PACKAGE.relative_to(HERE)}/package.cwl on the scene in data/", flush=True)
        run = [*BROKER, "run", str(PACKAGE / "package.cwl"), str(PACKAGE / "inputs.yml"), "--outdir", str(results)]
        if (code := subprocess.run(run, env=environment).returncode) != 0:
            return code
        print("3. Comparing the results with expected.json", flush=True)
        compare = [sys.executable, str(PACKAGE / "compare.py"), str(PACKAGE / "expected.json"), str(results)]
        code = subprocess.run(compare).returncode
    finally:
        up.terminate()
        up.wait(timeout=60)
    shown = results.relative_to(HERE)
    picture = next((path.relative_to(HERE) for path in results.rglob("*.png")), shown)
    print(f"\nResults are in {shown}; look at {picture}. It took {time.monotonic() - started:.0f} s.")
    print("To keep a broker up: make up (`broker up` with the software of the examples); then: .venv/bin/broker --help")
    return code


if __name__ == "__main__":
    sys.exit(main())
