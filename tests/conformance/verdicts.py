"""Whether the experiments of the Open Science Catalog can be run again here: writes docs/catalog-verdicts.md.

    make catalog-verdicts CATALOG=<a clone of ESA-EarthCODE/open-science-catalog-metadata>

Only the catalog is read: what its records link to elsewhere is named, not fetched.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from broker.errors import StagingError
from broker.results.experiment import Experiment, resolve
from broker.results.osc import HOME
from broker.results.tree import Tree
from broker.results.workflowkind import Remark

DOCUMENT = Path(__file__).parents[2] / "docs" / "catalog-verdicts.md"
REPOSITORY = "ESA-EarthCODE/open-science-catalog-metadata"


class Clone:
    """The files of the newest commit of a clone, with or without a work tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def commit(self) -> str:
        """Its name, shortened, and its date."""
        return self._git("log", "-1", "--format=%h of %cs").decode().strip()

    def paths(self) -> Iterable[str]:
        return self._paths

    @cached_property
    def _paths(self) -> frozenset[str]:
        return frozenset(self._git("ls-tree", "-r", "--name-only", "-z", "HEAD").decode().split("\0"))

    def read(self, path: str) -> bytes | None:
        return self._git("show", f"HEAD:{path}") if path in self._paths else None

    def _git(self, *words: str) -> bytes:
        return subprocess.run(["git", "-C", str(self.folder), *words], check=True, capture_output=True).stdout


def verdicts(tree: Tree) -> Iterator[Experiment]:
    """Every experiment of a catalog, resolved from its files alone."""

    def read(address: str, limit: int) -> bytes:
        path = address.removeprefix(HOME)
        content = tree.read(path)
        if content is None:
            raise StagingError(f"The catalog has no {path}." if path != address else "It lies elsewhere.")
        return content[: limit + 1]

    for path in sorted(tree.paths()):
        if path.startswith("experiments/") and path.endswith("/record.json"):
            yield resolve(HOME + path, read)


def document(found: Iterable[Experiment], commit: str) -> str:
    """The page."""
    experiments = list(found)
    runnable = sum(not _errors(one) for one in experiments)
    kinds: dict[str, list[str]] = {}
    for one in experiments:
        for remark in _errors(one):
            kinds.setdefault(remark.code, []).append(one.name)
    lines = [
        "# Can the experiments of the Open Science Catalog be run again?",
        "",
        f"Made by `make catalog-verdicts CATALOG=<clone>` from {REPOSITORY} at {commit}: every experiment record, "
        "resolved as `broker reproduce` does it, from the catalog alone (what it links to elsewhere is named, not "
        f"fetched). {runnable} of {len(experiments)} can be run; each other one is refused with the reasons below. "
        "Experiments that this broker has published run: `tests/e2e/test_experiment.py`.",
        "",
        "| in the way | experiments |",
        "|---|---|",
        *(f"| `{code}` | {len(names)} |" for code, names in sorted(kinds.items(), key=lambda item: -len(item[1]))),
        "",
    ]
    for one in experiments:
        lines += [f"## {one.name}", "", f"{one.title}. Workflow: `{one.workflow.get('id', '?')}`. ", ""]
        lines[-2] += "**Refused.**" if _errors(one) else "**Can be run.**"
        if one.package is not None:
            lines[-2] += f" Its package is {one.package.href} ({one.package.media_type})."
        for remark in one.remarks:
            what = "in the way" if remark.level == "error" else "to know"
            advice = f" *{remark.advice}*" if remark.advice else ""
            lines.append(f"- {what} (`{remark.code}`): {remark.message}{advice}")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _errors(one: Experiment) -> list[Remark]:
    return [remark for remark in one.remarks if remark.level == "error"]


if __name__ == "__main__":
    clone = Clone(Path(sys.argv[1]))
    DOCUMENT.write_text(document(verdicts(clone), clone.commit))
    print(f"{DOCUMENT.name} is written, of {clone.commit}")
