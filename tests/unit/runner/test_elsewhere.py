"""Steps that other platforms run: what a job needs, and how it goes on with what it was brought."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from broker.jobs.model import JobSpec, Needs, StageItem, Step, remote_name
from broker.jobs.observation import Observation, State
from tests.peers.runner import RunnerPeer, attempt_of, ended

# `first` writes down the moment in which it ran, so that a second run of it would change what the others are given.
WORKFLOW = """\
cwlVersion: v1.2
class: Workflow
$namespaces: {earthcode: "https://earthcode.esa.int/cwl#"}
requirements:
  InlineJavascriptRequirement: {}
  ScatterFeatureRequirement: {}
  StepInputExpressionRequirement: {}
  SubworkflowFeatureRequirement: {}
  MultipleInputFeatureRequirement: {}
inputs: {text: File, n: {type: "int[]", default: [1, 2]}, on: {type: boolean, default: true}}
outputs:
  all: {type: File, outputSource: last/out}
  own: {type: File, outputSource: beside/out}
  first: {type: File, outputSource: first/out}
steps:
  first:
    in: {text: text}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'cat "$0"; date +%s%N']
      inputs: {text: {type: File, inputBinding: {}}}
      outputs: {out: {type: stdout}}
      stdout: first.txt
  away:
    in:
      made: first/out
      n: n
      on: on
      twice: {valueFrom: $(inputs.n * 2)}
    when: $(inputs.on && inputs.n < 3)
    scatter: n
    out: [out]
    hints: {"earthcode:Platform": {platform: other}}
    run:
      class: Workflow
      inputs: {made: File, twice: int}
      outputs: {out: {type: File, outputSource: inner/out}}
      steps:
        inner:
          in: {made: made, twice: twice}
          out: [out]
          run:
            class: CommandLineTool
            requirements: {ResourceRequirement: {coresMin: 12345}}
            baseCommand: [sh, -c, 'head -n 1 "$0"; echo $1']
            inputs: {made: {type: File, inputBinding: {position: 1}}, twice: {type: int, inputBinding: {position: 2}}}
            outputs: {out: {type: stdout}}
  beside:
    in: {text: text}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'cat "$0"; date +%s%N']
      inputs: {text: {type: File, inputBinding: {}}}
      outputs: {out: {type: stdout}}
      stdout: beside.txt
  last:
    in: {parts: {source: away/out, pickValue: all_non_null}}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: cat
      inputs: {parts: {type: "File[]", inputBinding: {}}}
      outputs: {out: {type: stdout}}
      stdout: all.txt
"""


CORES = 12345  # that a step elsewhere needs: more than any machine here has


class Across:
    """A job on one platform, and what it needs on another (the same here: only the broker knows which is which)."""

    def __init__(self, runner: RunnerPeer) -> None:
        self.runner = runner
        self.platform = runner.platform()

    def run(self, spec: JobSpec) -> tuple[Observation, dict[str, Any]]:
        """The end of an attempt, and its outputs with the text of each file."""
        list(self.platform.submit(spec))
        seen = ended(self.platform, attempt_of(spec))
        if seen.state not in (State.NEEDS, State.SUCCEEDED):
            return seen, {}
        found = self.platform.collect(attempt_of(spec))
        self.texts = {}
        for file in found.files:
            with self.platform.open(attempt_of(spec), file.ref) as stream:
                self.texts[file.path] = stream.read().decode()
        return seen, dict(found.outputs)

    def staged(self, value: Any, below: str, items: list[StageItem]) -> Any:
        """A value with its files as inputs of another job."""
        if isinstance(value, Mapping):
            found = {key: self.staged(one, below, items) for key, one in value.items()}
            if value.get("class") == "File":
                items.append(StageItem(f"{below}/{value['location']}", text=self.texts[value["location"]]))
                found["location"] = f"inputs/{below}/{value['location']}"
            return found
        return [self.staged(one, below, items) for one in value] if isinstance(value, list) else value

    def bring(self, spec: JobSpec, seen: Observation, orders: Mapping[str, Any]) -> JobSpec:
        """The next attempt of a job, with what its needs gave."""
        items, brought, given = list(spec.stage), dict(spec.brought), dict(self.texts)
        for need in seen.needs:
            self.texts, inputs = given, list[StageItem]()
            order = self.staged(orders[need.key], "given", inputs)
            there = json.dumps(need.tool).replace(str(CORES), "1")  # as if the other had as many
            child = self.runner.spec(there, order, stage=tuple(inputs))
            child_seen, outputs = self.run(child)
            assert child_seen.state is State.SUCCEEDED, child_seen
            step = Step(need.step, "successful", node=need.platform)
            brought[need.key] = {"outputs": self.staged(outputs, f".steps/{need.key}", items), "step": step.to_json()}
        number = spec.attempt + 1
        name = remote_name(spec.job_id, number)
        return replace(spec, attempt=number, name=name, stage=tuple(items), brought=brought)


@pytest.fixture
def across(runner: RunnerPeer) -> Across:
    return Across(runner)


def job(across: Across, package: str = WORKFLOW, **order: Any) -> JobSpec:
    place = {"class": "File", "location": "inputs/text/in.txt", "basename": "in.txt"}
    stage = (StageItem("text/in.txt", text="hello\n"),)
    return across.runner.spec(package, {"text": place, **order}, stage=stage)


def test_a_workflow_goes_on_with_what_another_platform_gave(across: Across) -> None:
    spec = job(across)
    seen, orders = across.run(spec)
    assert seen.state is State.NEEDS
    assert {need.platform for need in seen.needs} == {"other"}
    assert sorted(order["twice"] for order in orders.values()) == [2, 4]
    assert {step.name: step.status for step in across.platform.steps(attempt_of(spec))} == {
        "first": "successful",
        "beside": "successful",
    }
    again = across.bring(spec, seen, orders)
    seen, outputs = across.run(again)
    assert seen.state is State.SUCCEEDED, seen
    assert across.texts[outputs["all"]["location"]] == "hello\n2\nhello\n4\n"
    steps = {step.name: step for step in across.platform.steps(attempt_of(again))}
    assert {name: step.status for name, step in steps.items() if step.status != "successful"} == {
        "first": "replayed",
        "beside": "replayed",
    }
    assert [step.node for step in steps.values()].count("other") == 2


def test_a_step_elsewhere_may_wait_for_another(across: Across) -> None:
    tool = (
        "{class: CommandLineTool, baseCommand: [sh, -c, 'cat \"$0\"; echo more'],"
        " inputs: {made: {type: File, inputBinding: {}}}, outputs: {out: {type: stdout}}}"
    )
    step = "  %s: {in: {made: %s}, out: [out], hints: {'earthcode:Platform': {platform: %s}}, run: " + tool + "}\n"
    head = WORKFLOW.partition("requirements:")[0]
    spec = job(
        across,
        f"{head}inputs: {{text: File}}\noutputs: {{all: {{type: File, outputSource: two/out}}}}\nsteps:\n"
        + step % ("one", "text", "here")
        + step % ("two", "one/out", "there"),
    )
    for needed in ([("one", "here")], [("two", "there")]):
        seen, orders = across.run(spec)
        assert [(need.step, need.platform) for need in seen.needs] == needed
        spec = across.bring(spec, seen, orders)
    seen, outputs = across.run(spec)
    assert seen.state is State.SUCCEEDED, seen
    assert across.texts[outputs["all"]["location"]] == "hello\nmore\nmore\n"


@pytest.mark.parametrize(("order", "needed"), [({"on": False}, 0), ({"n": [3, 1, 3]}, 1), ({"n": []}, 0)])
def test_only_steps_that_run_at_all_are_needed(across: Across, order: Mapping[str, Any], needed: int) -> None:
    seen, _ = across.run(job(across, **order))
    assert len(seen.needs) == needed
    assert seen.state is (State.NEEDS if needed else State.SUCCEEDED), seen


def test_the_same_step_with_the_same_inputs_is_needed_once(across: Across) -> None:
    seen, orders = across.run(job(across, n=[1, 1, 2]))
    assert len(seen.needs) == len(orders) == 2


def test_what_a_step_elsewhere_needs_is_not_asked_of_this_platform(across: Across) -> None:
    needs = job(across).needs
    assert needs.cores == 1.0
    assert needs.elsewhere == {"other"}
    assert Needs.from_json(needs.to_json()) == needs


def test_a_failure_here_ends_the_job_whatever_it_needs_elsewhere(across: Across) -> None:
    head, beside, rest = WORKFLOW.partition("  beside:")
    package = head + beside + rest.replace("date +%s%N", "exit 3", 1)
    seen, _ = across.run(job(across, package))
    assert (seen.state, seen.needs) == (State.FAILED, ())
    assert seen.failure is not None
    assert seen.failure.step == "beside"
