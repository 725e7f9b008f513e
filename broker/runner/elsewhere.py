"""Steps that other platforms run: they get what was brought from there, or are reported as what the job needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cwltool.context import RuntimeContext
from schema_salad.ref_resolver import file_uri

from broker.jobs.model import Step
from broker.jobs.observation import Need
from broker.packages import openeo
from broker.packages.needs import PLATFORM
from broker.packages.resolved import parameter, plain
from broker.runner.contents import Contents

if TYPE_CHECKING:
    from broker.runner.run import Run
    from broker.runner.steps import StepJob


def named(tool: Any) -> str | None:
    """As `packages.needs.platform_of`, of a process as cwltool has it."""
    hint, _ = tool.get_requirement(PLATFORM)
    if hint is not None:
        return str(hint.get("platform"))
    return "" if tool.get_requirement(openeo.HINT)[0] is not None else None


class Elsewhere:
    """The steps of one run that carry the hint `earthcode:Platform`."""

    def __init__(self, run: Run, contents: Contents, brought: Mapping[str, Any]) -> None:
        """`brought`: as in `JobSpec`, with absolute locations."""
        self.contents = contents
        self.brought = brought
        self.base = f"{file_uri(str(run.job.package))}/"
        self.needs: dict[str, Need] = {}
        self.orders: dict[str, Mapping[str, Any]] = {}  # by the key of the need

    def take(self, job: StepJob, context: RuntimeContext) -> bool:
        """Whether a step is none of this platform's: it has the outputs that were brought, or waits for them.

        Raises OSError and OutsideJob where its inputs cannot be read.
        """
        where = named(job)
        if where is None:
            return False
        tool = self._tool(job)
        names = {one["id"] for one in tool["inputs"]}
        order = {name: value for name, value in job.builder.job.items() if name in names}
        whole = json.dumps({"tool": tool, "inputs": self.contents.of(order)}, sort_keys=True)
        key = hashlib.sha256(whole.encode()).hexdigest()
        if (found := self.brought.get(key)) is not None:
            job.replay(context, found["outputs"], Step.from_json(found["step"]))
        else:
            self.needs[key] = Need(key, job.name, where, tool)
            self.orders[key] = order
        return True

    def _tool(self, job: StepJob) -> dict[str, Any]:
        """The step's tool as a document by itself, with the requirements and hints of the workflows around it."""
        tool = {key: one for key, one in plain(job.document, self.base).items() if "cwltool" not in key}
        tool.pop("id", None)  # of a tool that is written into its step, another one each time
        hints = [one for one in plain(job.hints, self.base) if one["class"] != PLATFORM]
        return {
            **tool,
            "cwlVersion": "v1.2",
            "inputs": [_without_default(parameter(one)) for one in tool["inputs"]],
            "outputs": [parameter(one) for one in tool["outputs"]],
            "requirements": plain(job.requirements, self.base),
            "hints": hints,
        }


def _without_default(given: dict[str, Any]) -> dict[str, Any]:
    """An input whose value is in the job order in any case."""
    return {key: one for key, one in given.items() if key != "default"}
