"""Loading the adapter brings in nothing but itself: a worker has the rest already, and others never load it."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import broker.bootstrap, broker.api.app
assert not [name for name in sys.modules if name.startswith("adapters.openeo")], "loaded at start"
before = {name.partition(".")[0] for name in sys.modules}
import adapters.openeo.platform
print(sorted({name.partition(".")[0] for name in sys.modules} - before - sys.stdlib_module_names))
"""


def test_the_adapter_brings_no_library_along() -> None:
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "[]"
