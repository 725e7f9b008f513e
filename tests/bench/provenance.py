"""What provenance costs: CPU of a run of 100 steps beside a broker that keeps none, and bytes per step.

Both brokers are whole and run the same jobs in turns. The one without is this one with the functions that make
provenance replaced as they are imported, also in the zygote, which sees nothing of the environment: by a Python
environment of its own that stands on ours.
"""

from __future__ import annotations

import os
import statistics
import sys
import venv
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from sysconfig import get_path

from tests.bench.cpu import tree_cpu
from tests.bench.cwl import SCATTER
from tests.bench.table import Figure
from tests.peers.broker import BrokerPeer, broker_peer

STEPS, RUNS = 100, 20
_WITHOUT = """
import importlib.machinery, sys
OFF = {
    "broker.store.provenance": {"note": lambda *a, **k: None, "write": lambda *a, **k: None},
    "broker.runner.facts": {"paths": lambda *a: (), "requested": lambda *a: {}, "tool": lambda *a: None,
                            "below": lambda *a: {}},
}
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name not in OFF:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module
        def exec_module(module):
            load(module)
            vars(module).update(OFF[name])
        spec.loader.exec_module = exec_module
        return spec
sys.meta_path.insert(0, Finder())
"""


def python(folder: Path, *, without: bool) -> str:
    """An environment with our packages, in which provenance is off or not."""
    venv.create(folder, with_pip=False, symlinks=True)
    site = Path(get_path("purelib", vars={"base": str(folder)}))
    (site / "ours.pth").write_text(f"import site; site.addsitedir({get_path('purelib')!r})\n")
    if without:
        (site / "without_provenance.py").write_text(_WITHOUT)
        (site / "without.pth").write_text("import without_provenance\n")
    return str(folder / "bin" / "python")


@contextmanager
def brokers(folder: Path) -> Iterator[dict[str, BrokerPeer]]:
    """`with` and `without`, each with the package deployed."""
    own = sys.executable
    with ExitStack() as stack:
        found = {}
        for name in ("with", "without"):
            sys.executable = python(folder / name, without=name == "without")
            try:
                found[name] = stack.enter_context(broker_peer(folder / f"state-{name}"))
            finally:
                sys.executable = own
            found[name].deploy(SCATTER)
        yield found


def cost(folder: Path, runs: int = RUNS) -> list[Figure]:
    """CPU seconds of all processes of a broker for one job, `runs` times each in turns; and the size of its record."""
    values = {"n": [f"s{number}" for number in range(STEPS)]}
    used: dict[str, list[float]] = {"with": [], "without": []}
    with brokers(folder) as found:
        processes = {name: peer.get("/processes").json()["processes"] for name, peer in found.items()}
        package = next(one["id"] for one in processes["with"] if one["id"] not in ("echo", "water-bodies"))
        for run in range(-1, runs):
            for name in sorted(found, reverse=run % 2 == 0):
                took, job = _run(found[name], package, values)
                if run >= 0:  # the first of each is to get warm
                    used[name].append(took)
                if name == "with":
                    size = len(found[name].get(f"/jobs/{job}/prov", params={"f": "record"}).content) / STEPS
                else:
                    assert found[name].get(f"/jobs/{job}/prov").status_code == 404
    ours, theirs = (statistics.median(used[name]) for name in ("with", "without"))
    return [
        Figure(
            f"CPU of a run of {STEPS} steps with provenance, median of {runs}",
            f"{ours:.3f} s",
            f"without {theirs:.3f} s (sums {sum(used['with']):.1f}, {sum(used['without']):.1f} s)",
            ours / theirs,
            1.02,
            "at most 1.02",
        ),
        Figure("record of provenance, bytes per step", f"{size:.0f} B", "-", size, 5000, "at most 5 kB"),
    ]


def _run(peer: BrokerPeer, package: str, values: dict[str, list[str]]) -> tuple[float, str]:
    assert peer.process is not None
    os.sync()
    before = tree_cpu(peer.process.pid)
    job = peer.execute(package, values)
    status = peer.ended(job, 120)
    assert status["status"] == "successful", status
    return tree_cpu(peer.process.pid) - before, job
