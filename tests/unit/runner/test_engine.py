"""What a run tells: steps, progress, logs, and failures that a scientist can act on."""

from __future__ import annotations

from typing import Any

import pytest

from broker.jobs.model import Fault, Progress, Reason, StageItem
from broker.jobs.observation import State
from tests.peers.runner import RunnerPeer, shell

SCATTER = """\
cwlVersion: v1.2
class: Workflow
requirements: {ScatterFeatureRequirement: {}, InlineJavascriptRequirement: {}, StepInputExpressionRequirement: {}}
inputs: {words: 'string[]', extra: {type: boolean, default: false}}
outputs: {said: {type: 'File[]', outputSource: each/said}}
steps:
  each:
    scatter: word
    in: {word: words}
    out: [said]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'echo $0; echo $0 told >&2']
      inputs: {word: {type: string, inputBinding: {}}}
      outputs: {said: {type: stdout}}
      stdout: said.txt
  maybe:
    when: $(inputs.extra)
    in: {extra: extra}
    out: []
    run: {class: CommandLineTool, baseCommand: 'true', inputs: {extra: boolean}, outputs: []}
"""


NESTED = """\
cwlVersion: v1.2
class: Workflow
requirements: {SubworkflowFeatureRequirement: {}}
inputs: []
outputs: []
steps:
  zebra:
    in: []
    out: []
    run:
      class: Workflow
      inputs: []
      outputs: []
      steps:
        inner:
          in: []
          out: []
          run: {class: CommandLineTool, baseCommand: [ls, /x], successCodes: [2], inputs: [], outputs: []}
  aardvark: {in: [], out: [], run: {class: CommandLineTool, baseCommand: 'true', inputs: [], outputs: []}}
"""


def failure(runner: RunnerPeer, package: str, order: dict[str, Any] | None = None) -> Any:
    _, seen = runner.run(package, order)
    assert seen.state == State.FAILED, seen
    assert seen.failure is not None
    return seen.failure


def test_scatter_is_counted_and_recorded(runner: RunnerPeer) -> None:
    platform = runner.platform()
    words = [f"w{n}" for n in range(7)]
    attempt, seen = runner.run(SCATTER, {"words": words}, on=platform)
    assert seen.state == State.SUCCEEDED, seen
    assert seen.progress == Progress(8, 8)
    steps = {step.name: step for step in platform.steps(attempt)}
    assert set(steps) == {"each", *(f"each_{n}" for n in range(2, 8)), "maybe"}
    assert steps["maybe"].status == "skipped"
    assert steps["each_3"].status == "successful"
    assert steps["each_3"].exit_code == 0
    assert steps["each_3"].cpu_seconds is not None
    assert steps["each_3"].command[0] == "sh"
    collected = platform.collect(attempt)
    assert [entry["basename"] for entry in collected.outputs["said"]] == ["said.txt"] * 7
    with platform.open(attempt, collected.outputs["said"][4]["location"]) as stream:
        assert stream.read() == b"w4\n"


def test_steps_are_named_by_their_path_in_the_order_of_the_document(runner: RunnerPeer) -> None:
    platform = runner.platform(cores=1)
    attempt, seen = runner.run(NESTED, on=platform)
    assert seen.state == State.SUCCEEDED, seen
    assert [step.name for step in platform.steps(attempt)] == ["zebra/inner", "aardvark"]
    assert {chunk.stream for chunk in platform.logs(attempt, None).chunks} >= {"zebra_inner"}


def test_logs_have_a_stream_per_step_and_a_cursor(runner: RunnerPeer) -> None:
    platform = runner.platform()
    attempt, _ = runner.run(SCATTER, {"words": ["a", "b"]}, on=platform)
    page = platform.logs(attempt, None)
    streams = {chunk.stream: chunk.text for chunk in page.chunks}
    assert streams["each"] == "a told\n"
    assert streams["each_2"] == "b told\n"
    assert platform.logs(attempt, page.cursor).chunks == ()


def test_a_tool_that_fails_says_how(runner: RunnerPeer) -> None:
    script = "for n in $(seq 40); do echo line $n >&2; done; echo no such band: B99 >&2; exit 3"
    found = failure(runner, shell(script))
    assert (found.fault, found.reason) == (Fault.PACKAGE, Reason.TOOL_FAILED)
    assert found.exit_code == 3
    assert "exit code 3" in found.message
    assert "no such band: B99" in found.message
    assert found.log_tail.splitlines()[-1] == "no such band: B99"
    assert len(found.log_tail.splitlines()) == 20


def test_the_captured_stderr_is_quoted_too(runner: RunnerPeer) -> None:
    found = failure(runner, shell("echo gone wrong >&2; exit 1", more="stderr: err.txt\n"))
    assert "gone wrong" in found.log_tail


def test_a_program_that_is_not_there(runner: RunnerPeer) -> None:
    found = failure(
        runner, "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: gdal_warpe\ninputs: []\noutputs: []\n"
    )
    assert found.reason == Reason.TOOL_FAILED
    assert "'gdal_warpe' is not there" in found.message
    assert "Name an image in the package" in found.message


def test_killed_for_memory(runner: RunnerPeer) -> None:
    found = failure(runner, shell("kill -9 $$"))
    assert (found.fault, found.reason) == (Fault.LIMIT, Reason.OUT_OF_MEMORY)
    assert "ramMin" in found.message


def test_ended_by_a_signal(runner: RunnerPeer) -> None:
    assert "SIGSEGV" in failure(runner, shell("kill -SEGV $$")).message


def test_tool_time_limit(runner: RunnerPeer) -> None:
    found = failure(runner, shell("sleep 60", more="requirements: {ToolTimeLimit: {timelimit: 1}}\n"))
    assert (found.fault, found.reason) == (Fault.LIMIT, Reason.TIME_LIMIT)
    assert "ToolTimeLimit" in found.message


@pytest.mark.parametrize(
    ("package", "words"),
    [
        (shell("true", more="requirements: {InlineJavascriptRequirement: {}}\nstdout: $(nowhere.x)\n"), "nowhere"),
        (
            "cwlVersion: v1.2\nclass: ExpressionTool\nrequirements: {InlineJavascriptRequirement: {}}\ninputs: []\n"
            "outputs: {n: int}\nexpression: '${throw new Error(\"too cloudy\");}'\n",
            "too cloudy",
        ),
        (SCATTER.replace("$(inputs.extra)", "$(inputs.extra.deep.er)"), "extra"),
    ],
)
def test_an_expression_that_fails(runner: RunnerPeer, package: str, words: str) -> None:
    found = failure(runner, package, {"words": ["a"]} if "words" in package else {})
    assert (found.fault, found.reason) == (Fault.PACKAGE, Reason.EXPRESSION), found
    assert words in found.message
    assert "/package/" not in found.message


def test_an_input_that_does_not_fit(runner: RunnerPeer) -> None:
    package = shell("true").replace("inputs: []", "inputs: {n: int}")
    found = failure(runner, package, {"n": "many"})
    assert (found.fault, found.reason) == (Fault.INPUT, Reason.INVALID_INPUT)
    assert failure(runner, package, {}).reason == Reason.INVALID_INPUT


def test_a_missing_secondary_file(runner: RunnerPeer) -> None:
    package = shell(
        "echo x > out.tif",
        "{out: {type: File, outputBinding: {glob: out.tif}, secondaryFiles: [{pattern: .xml, required: true}]}}",
    )
    found = failure(runner, package)
    assert found.reason == Reason.OUTPUT_MISSING
    assert "out.tif.xml" in found.message


def test_more_than_the_machine_has(runner: RunnerPeer) -> None:
    found = failure(runner, shell("true", more="requirements: {ResourceRequirement: {coresMin: 5000}}\n"))
    assert found.fault == Fault.LIMIT
    assert "5000" in found.message


def test_success_codes(runner: RunnerPeer) -> None:
    _, seen = runner.run(shell("exit 7", more="successCodes: [0, 7]\n"))
    assert seen.state == State.SUCCEEDED


def test_an_unreachable_input_is_said(runner: RunnerPeer) -> None:
    package = shell("true").replace("inputs: []", "inputs: {scene: File}")
    stage = (StageItem("scene/a.tif", url="https://127.0.0.1:9/a.tif"),)
    order = {"scene": {"class": "File", "location": "inputs/scene/a.tif"}}
    _, seen = runner.run(package, order, stage=stage)
    assert seen.failure is not None
    assert seen.failure.fault == Fault.STAGING
    assert "127.0.0.1" in seen.failure.message


def test_many_steps_at_a_time_but_not_more_than_cores(runner: RunnerPeer) -> None:
    package = SCATTER.replace("echo $0; echo $0 told >&2", "sleep 0.3; echo $0")
    platform = runner.platform(cores=4)
    attempt, seen = runner.run(package, {"words": ["a", "b", "c", "d", "e", "f"]}, on=platform)
    assert seen.state == State.SUCCEEDED, seen
    steps = [step for step in platform.steps(attempt) if step.status == "successful"]
    moments = sorted([(s.started, 1) for s in steps] + [(s.finished, -1) for s in steps])
    running = highest = 0
    for _, change in moments:
        running += change
        highest = max(highest, running)
    assert 2 <= highest <= 4


def test_steps_are_measured(runner: RunnerPeer) -> None:
    platform = runner.platform()
    busy = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; head -c 60000000 /dev/zero | tail -c 50000000 >/dev/null"
    attempt, _ = runner.run(shell(busy), on=platform)
    [step] = platform.steps(attempt)
    assert step.cpu_seconds is not None
    assert 0.05 < step.cpu_seconds < 10
    assert step.max_rss_mib is not None
    assert 45 < step.max_rss_mib < 80


def test_a_command_that_the_shell_does_not_find(runner: RunnerPeer) -> None:
    found = failure(runner, shell("gdal_warpe a b"))
    assert "'gdal_warpe' is not there" in found.message
    assert "Name an image in the package" in found.message


def test_no_network_is_explained(runner: RunnerPeer) -> None:
    script = "python3 -c 'import socket; socket.create_connection((\"192.0.2.1\", 80))'"
    assert "(NetworkAccess)" in failure(runner, shell(script)).message


def test_a_missing_output_says_what_was_there(runner: RunnerPeer) -> None:
    outputs = "{out: {type: File, outputBinding: {glob: result.tif}}}"
    found = failure(runner, shell("touch result.tiff; mkdir tiles", outputs))
    assert found.reason == Reason.OUTPUT_MISSING
    assert found.message.endswith("The output directory holds: result.tiff, tiles/.")
    assert failure(runner, shell("true", outputs)).message.endswith("The output directory is empty.")
