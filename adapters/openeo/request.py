"""What a job is on an openEO back-end: the body of its request, checked by the back-end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.openeo import cwl, graph, inputs, workspace
from adapters.openeo.api import Api
from adapters.openeo.workspace import Workspace
from broker.errors import PlatformRefused
from broker.jobs.model import JobSpec
from broker.packages.openeo import KIND
from broker.packages.openeotool import called


def body(api: Api, spec: JobSpec, *, synchronous: bool) -> dict[str, Any]:
    """The members of the request besides its title, once the files that it names are there. Raises PlatformRefused for
    what the back-end says is wrong."""
    process: Mapping[str, Any] = {}
    if spec.needs.kind == KIND:
        process, order, _ = called(spec.bundle, spec.job_order)
        sent = workspace.wanted(spec)
        files = inputs.read((item for item in spec.stage if item not in sent), api.egress, spec.secrets.http)
        compiled = graph.compiled(process, order, files | Workspace(api).put(spec, sent))
    else:
        compiled = cwl.graph(spec, _runs_cwl(api))
    if api.offers("/validation", "POST"):  # not all back-ends look when a job is made, and later it costs more
        found = api.call("POST", "/validation", {"process_graph": compiled}).document or {}
        if errors := found.get("errors"):
            text = "; ".join(f"{one.get('message')} ({one.get('code')})" for one in errors[:5])
            raise PlatformRefused(f"The platform refuses it: {text}", fault_of="package", code="invalid-package")
    own = api.settings
    asked = graph.asked(compiled, process, own.job_options, synchronous=synchronous)
    more = {"plan": own.plan, "budget": own.budget}
    return asked | {key: value for key, value in more.items() if value is not None}


def kept(spec: JobSpec) -> dict[str, Any]:
    """What the handle keeps: of CWL how its outputs are found among the results; the files that were sent."""
    wanted = called(spec.bundle, spec.job_order)[2] if spec.needs.kind == KIND else cwl.outputs(spec)
    found: dict[str, Any] = {} if wanted is None else {"outputs": wanted}
    files = [workspace.name(spec.name, item) for item in workspace.wanted(spec)]
    return found | ({"files": files} if files else {})


def _runs_cwl(api: Api) -> str:
    found = api.runs_cwl()
    if found is None:
        raise PlatformRefused("The platform runs no CWL any more.", code="no-platform")
    return found
