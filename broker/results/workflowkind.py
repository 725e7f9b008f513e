"""What a workflow record is about: a package that can be run, or something else, with advice on how to package it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from broker.packages.media import CWL_TYPES, OPENEO_TYPE
from broker.results.recordparts import PACKAGES

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Remark:
    """What keeps an experiment from being run again (`level` error) or may (warning); `code` is for programs,
    `message` says what is the matter, `advice` what to do, `pointer` which member of the request it is about."""

    level: str
    code: str
    message: str
    advice: str | None = None
    pointer: str = "/experiment"

    def to_json(self) -> dict[str, str]:
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, slots=True)
class Package:
    """Where a package can be had, and in which media type it is deployed; `content`: where it is read already."""

    href: str
    media_type: str
    content: bytes | None = field(default=None, repr=False)


_FOREIGN = {  # application:type, or a part of the media type -> code, what it is, advice
    "jupyter-notebook": (
        "notebook",
        "a Jupyter notebook",
        "Notebooks are not run here: run its cells as a script (jupyter nbconvert --to script, or papermill) in a CWL "
        "CommandLineTool whose image holds its environment, with the parameters of the notebook as inputs.",
    ),
    "argo-workflow": (
        "argo",
        "an Argo workflow",
        "Argo is not run here: each of its templates becomes a CWL CommandLineTool with the same image and command, "
        "and its DAG a CWL Workflow.",
    ),
    "mlflow": (
        "mlflow",
        "an MLflow project",
        "MLflow is not run here: each entry point becomes a CWL CommandLineTool (mlflow run . -e NAME --env-manager "
        "local) in an image with its environment, with its parameters as inputs.",
    ),
}
_ALIASES = {"ipynb": "jupyter-notebook", "jupyter": "jupyter-notebook", "argo": "argo-workflow", "mlflow": "mlflow"}
_CODE = ("vcs", "git", "download", "code")
_CODE_ADVICE = (
    "Code alone says neither what to start nor with which parameters: its authors would publish a CWL package beside "
    "it (a CommandLineTool with an image and a command), and link it in the record with rel=application."
)


def package_of(
    workflow_at: str, workflow: Record, experiment_at: str, experiment: Record
) -> tuple[Package | None, tuple[Remark, ...]]:
    """The package of a workflow record (or of the experiment's own, as openEO's are), or why there is none."""
    if not workflow:
        return None, ()
    found = [(workflow_at, one) for one in links_of(workflow)] + [(experiment_at, one) for one in links_of(experiment)]
    for at, link in found:
        href, kind = str(link["href"]), str(link.get("type") or "").partition(";")[0].strip().lower()
        if link.get("rel") == PACKAGES["openeo"][0]:
            return Package(urljoin(at, href), OPENEO_TYPE), ()
        named = link.get("rel") == PACKAGES["cwl"][0] and urlsplit(href).path.lower().endswith(".cwl")
        if kind in CWL_TYPES or named:
            return Package(urljoin(at, href), kind if kind in CWL_TYPES else "application/cwl"), ()
    return None, (_foreign(workflow, [link for _, link in found]),)


def _foreign(workflow: Record, links: list[Record]) -> Remark:
    """What it is instead."""
    properties = workflow.get("properties")
    declared = properties.get("application:type") if isinstance(properties, Mapping) else None
    hints = [declared, *(link.get("application:type") for link in links), *(link.get("type") for link in links)]
    for hint in hints:
        for part, name in _ALIASES.items():
            if isinstance(hint, str) and part in hint.lower():
                code, what, advice = _FOREIGN[name]
                return Remark("error", code, f"Its workflow is {what}, which is not executable here.", advice)
    code_at = [str(link["href"]) for link in links if str(link.get("rel")).lower() in _CODE]
    if code_at:
        message = f"Its workflow is only code ({code_at[0][:200]}), which is not executable by itself."
        return Remark("error", "code-only", message, _CODE_ADVICE)
    message = "The record of its workflow links nothing that can be run."
    return Remark("error", "no-package", message, _CODE_ADVICE)


def links_of(record: Record) -> Iterator[Record]:
    """The links of a record that lead anywhere."""
    links = record.get("links")
    for one in links if isinstance(links, list) else ():
        if isinstance(one, Mapping) and isinstance(one.get("href"), str):
            try:
                urlsplit(one["href"])
            except ValueError:  # such as http://[x
                continue
            yield one
