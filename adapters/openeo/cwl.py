"""CWL packages on back-ends that run CWL themselves: which packages they can take, and the graph that has them run.

There is no common process for it yet: `run_cwl_to_stac` gives the package's own STAC files, `run_udf` with the runtime
EOAP-CWL reads them as a cube and writes that again (openeo-geopyspark-driver, docs/udf-eoap-cwl.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from broker.errors import PlatformRefused
from broker.jobs.model import JobSpec
from broker.jobs.placement import CLOSED, OUTPUTS, SEVERAL_FILES
from broker.packages.cwl import parse
from broker.packages.graph import fragment, processes
from broker.packages.lint import REQUIREMENTS
from broker.packages.openeo import saving
from broker.packages.resolved import written

TO_STAC, UDF = "run_cwl_to_stac", "run_udf"
RUNTIME = "EOAP-CWL"
WITHOUT = frozenset({SEVERAL_FILES, OUTPUTS, CLOSED})  # as `unfit` finds when a job is submitted
FEATURES = frozenset(REQUIREMENTS) - {"InplaceUpdateRequirement"}


def graph(spec: JobSpec, process: str) -> dict[str, Any]:
    """The process graph for a package. Raises PlatformRefused with every reason why it cannot be run there."""
    name = str(spec.bundle["entry"]).partition("#")[0]
    text = spec.bundle["documents"][name]
    if reasons := [*unfit(spec, parse(text, name))]:
        text = f"A package runs there as one text with links as inputs: {'; '.join(reasons)}."
        raise PlatformRefused(text, fault_of="package", code="no-platform")
    links = {f"inputs/{item.path}": item.url for item in spec.stage}
    context = _linked(dict(spec.job_order), links)
    if process == TO_STAC:
        return {"cwl": {"process_id": TO_STAC, "arguments": {"cwl": text, "context": context}, "result": True}}
    arguments = {"data": None, "udf": text, "runtime": RUNTIME, "context": context}
    return saving({"cwl": {"process_id": UDF, "arguments": arguments, "result": True}}, "GTiff")


def unfit(spec: JobSpec, document: Any) -> Iterator[str]:
    """Why a package cannot be run there, one reason each."""
    if len(spec.bundle["documents"]) > 1 or spec.bundle.get("files"):
        yield "it has several files"
    wanted = str(spec.bundle["entry"]).partition("#")[2]
    names = [fragment(one.get("id")) for one in processes(document)]
    if wanted and wanted != ("main" if "main" in names else names[-1]):
        yield f"{wanted} is neither main nor the last process of the document"
    if spec.secrets.registries:
        yield "its images need credentials"
    for item in spec.stage:
        if not item.public:
            yield f"{item.path} is not a link to a file that everybody may read"
    outputs = written(document, wanted).get("outputs") or {}
    if [_type(one) for one in _bodies(outputs)] != ["Directory"]:
        yield "its outputs are not one Directory"


def outputs(spec: JobSpec) -> dict[str, dict[str, str]]:
    """The package's one output, which is all results."""
    name, _, wanted = str(spec.bundle["entry"]).partition("#")
    found = written(parse(spec.bundle["documents"][name], name), wanted).get("outputs") or {}
    ids = found if isinstance(found, Mapping) else [one.get("id") for one in found]
    return {fragment(one).rpartition("/")[2] or str(one): {"type": "Directory"} for one in ids}


def _bodies(outputs: Any) -> list[Any]:
    return [*outputs.values()] if isinstance(outputs, Mapping) else [*outputs]


def _type(output: Any) -> str:
    return str(output.get("type") if isinstance(output, Mapping) else output)


def _linked(value: Any, links: Mapping[str, str | None]) -> Any:
    """The job order with the addresses of its files."""
    if isinstance(value, Mapping):
        if value.get("class") == "File" and value.get("location") in links:
            return {"class": "File", "location": links[value["location"]]}
        return {key: _linked(one, links) for key, one in value.items()}
    if isinstance(value, list):
        return [_linked(one, links) for one in value]
    return value
