"""Loading an adapter brings in nothing but itself, in less than 100 ms of a processor: a worker has the rest already,
and others never load it."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys, time
import broker.bootstrap, broker.api.app
assert not [name for name in sys.modules if name.startswith("adapters.{0}")], "loaded at start"
before = set(name.partition(".")[0] for name in sys.modules)
began = time.process_time()
import adapters.{0}.platform
took = time.process_time() - began
assert took < 0.1, took
print(sorted(set(name.partition(".")[0] for name in sys.modules) - before - sys.stdlib_module_names))
"""


@pytest.mark.parametrize("adapter", ["local", "ogcapi", "openeo"])
def test_the_adapter_brings_no_library_along(adapter: str) -> None:
    found = subprocess.run([sys.executable, "-c", SCRIPT.format(adapter)], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "[]"
