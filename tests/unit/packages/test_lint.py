"""Bad packages: each gives its own error, at its line, with what to write instead, and quickly."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.errors import BrokerError, PackageError, UnsupportedPackage
from broker.packages.bundle import build
from broker.runner import loading
from tests.unit.packages.documents import tool

STEPS = "cwlVersion: v1.2\nclass: Workflow\ninputs: {a: %s}\noutputs: {o: {type: string, outputSource: %s}}\nsteps:\n"
TOOL = "{class: ExpressionTool, inputs: {x: string}, outputs: {o: string}, expression: $(1)}"
STEP = f"  st:\n    run: {TOOL}\n    in: {{x: a}}\n"
NO_RUN = "cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nsteps:\n  one:\n    in: {}\n    out: []\n"

# text, line (None: any), words of the message, words of the hint
BAD = {
    "empty": ("", 1, "empty", "cwlVersion"),
    "text": ("hello", 1, "plain text", "cwlVersion"),
    "web page": ("<html><body>404</body></html>", 1, "web page", "cwlVersion"),
    "list": ("- a\n", 1, "a list", "cwlVersion"),
    "other YAML": ("hello: world\n", 1, "neither class nor $graph", "cwlVersion"),
    "kubernetes": ("apiVersion: v1\nkind: Pod\n", 1, "Kubernetes", "cwlVersion"),
    "openEO": ("process_graph: {}\n", 1, "openEO", "cwlVersion"),
    "no class": ("cwlVersion: v1.2\ninputs: []\n", 1, "no class", "class:"),
    "misspelt class key": ("cwlVersion: v1.2\nClass: Workflow\n", 2, "'Class'", "class"),
    "misspelt class": (tool().replace("CommandLineTool", "CommandlineTool"), 2, "CommandlineTool", "CommandLineTool"),
    "no version": (tool().replace("cwlVersion: v1.2\n", ""), 1, "cwlVersion", "v1.2"),
    "number as version": (tool(version="1.2"), 1, "1.2", "cwlVersion: v1.2"),
    "draft": (tool(version="draft-3"), 1, "draft-3", "cwl-upgrader"),
    "no inputs": (tool().replace("inputs: []\n", ""), 1, "no inputs", "inputs: []"),
    "misspelt inputs": (tool().replace("inputs:", "input:"), 1, "no inputs", "in place of input"),
    "inputs a number": (tool("3"), 4, "mapping or a list", ""),
    "String": (tool("{a: String}"), 4, "'String'", "string"),
    "String?": (tool("{a: {type: String?}}"), 4, "'String?'", "string?"),
    "integer": (tool("[{id: a, type: integer}]"), 4, "'integer'", "int"),
    "bool in array": (tool("{a: {type: {type: array, items: bool}}}"), 4, "'bool'", "boolean"),
    "misspelt type": (tool("{a: Strng}"), 4, "'Strng'", "string"),
    "directory in outputs": (tool("[]", "{a: directory}"), 5, "'directory'", "Directory"),
    "type in a union": (tool("{a: ['null', str]}"), 4, "'str'", "string"),
    "type in a record": (tool("{a: {type: {type: record, fields: {x: {type: Int}}}}}"), 4, "'Int'", "int"),
    "short form in items": (tool("{a: {type: {type: array, items: 'int[]'}}}"), 4, "'int[]'", "items: int"),
    "unknown type": (tool("{a: Quux}"), 4, "Quux", "SchemaDefRequirement"),
    "symbols beside type": (tool("{a: {type: enum, symbols: [x]}}"), 4, "symbols", "type: {type: enum"),
    "a number as id": ("id: 3\n" + tool(), 1, "id", "quotes"),
    "unknown field": (tool(more="basecommand: x\n"), 4, "'basecommand'", "baseCommand"),
    "requirements empty": (tool(more="requirements:\n"), 4, "requirements", "remove"),
    "no image": (tool(more="requirements: {DockerRequirement: {dockerPull: }}\n"), 4, "no image", "dockerPull"),
    "no run": (NO_RUN, 7, "'one' has no run", "run:"),
    "no out": (NO_RUN.replace("    out: []\n", "    run: '#a'\n"), 7, "has no out", "out: []"),
    "no steps": (NO_RUN.partition("steps")[0], 1, "no steps", "steps: []"),
    "unknown source": (STEPS % ("string", "stp/o") + STEP + "    out: [o]\n", 4, "stp/o", "step/output"),
    "types that do not fit": (STEPS % ("int", "st/o") + STEP + "    out: [o]\n", 3, "incompatible", ""),
    "step output that is not there": (STEPS % ("string", "st/o") + STEP + "    out: [o, zz]\n", 9, "zz", ""),
    "graph of nothing": ("cwlVersion: v1.2\n$graph: []\n", 2, "$graph", "list item"),
    "graph of texts": ("cwlVersion: v1.2\n$graph: [a]\n", 2, "not a process", "mapping"),
    "graph without ids": ("cwlVersion: v1.2\n$graph: [{class: Workflow}]\n", None, "inputs", ""),
    "namespaces a text": ("$namespaces: x\n" + tool(), 1, "$namespaces", ""),
    "import of an object": (tool("{$import: {a: 1}}"), None, "", ""),
}  # fmt: skip

UNSUPPORTED = {
    "misspelt": ("DockerRequirment: {dockerPull: x}", "DockerRequirment", "DockerRequirement"),
    "short": ("Docker: {dockerPull: x}", "Docker", "DockerRequirement"),
    "unknown": ("FooRequirement: {}", "FooRequirement", "hints"),
    "dockerFile": ("DockerRequirement: {dockerFile: x}", "dockerFile", "dockerPull"),
    "dockerLoad": ("DockerRequirement: {dockerLoad: x}", "dockerLoad", "dockerPull"),
    "dockerImport": ("DockerRequirement: {dockerImport: x}", "dockerImport", "dockerPull"),
    "software": ("SoftwareRequirement: {packages: {}}", "Software", "hints"),
    "MPI": ("cwltool:MPIRequirement: {processes: 2}", "MPIRequirement", "hints"),
    "secrets": ("http://commonwl.org/cwltool#Secrets: {secrets: [a]}", "Secrets", "hints"),
    "arvados": ("http://arvados.org/cwl#RunInSingleContainer: {}", "RunInSingleContainer", "hints"),
}


def refused(text: str) -> PackageError:
    loading.warm()
    start = time.process_time()
    with pytest.raises(PackageError) as caught:
        loading.inspect(build(text), Path("/package"))
    assert time.process_time() - start < 1
    return caught.value


@pytest.mark.parametrize("case", BAD)
def test_says_where_and_what_to_write(case: str) -> None:
    text, line, message, hint = BAD[case]
    error = refused(text)
    assert error.file == "package.cwl"
    assert error.line == line if line else True
    assert message in error.detail
    assert hint in (error.hint or "")
    assert "/package" not in str(error)


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_unsupported_requirements_are_named(case: str) -> None:
    line, message, hint = UNSUPPORTED[case]
    error = refused(tool(more=f"$namespaces: {{cwltool: 'http://commonwl.org/cwltool#'}}\nrequirements:\n  {line}\n"))
    assert isinstance(error, UnsupportedPackage)
    assert error.line == 6
    assert message in error.detail
    assert hint in (error.hint or "")


def test_an_operation_is_unsupported() -> None:
    assert isinstance(refused(tool().replace("CommandLineTool", "Operation")), UnsupportedPackage)


@pytest.mark.parametrize(
    "line",
    [
        "http://commonwl.org/cwltool#CUDARequirement:"
        " {cudaVersionMin: '11', cudaComputeCapability: '3.0', cudaDeviceCountMin: 1}",
        "ToolTimeLimit: {timelimit: 5}",
        "InplaceUpdateRequirement: {inplaceUpdate: true}",
    ],
)
def test_supported_requirements(line: str) -> None:
    inspection = loading.inspect(build(tool(more=f"requirements:\n  {line}\n")), Path("/package"))
    assert inspection.needs.features == {line.partition(":")[0] if line[0] != "h" else "CUDARequirement"}


def test_unknown_hints_are_a_warning() -> None:
    inspection = loading.inspect(build(tool(more="hints: [{class: FooHint}]\n")), Path("/package"))
    assert any("FooHint" in warning for warning in inspection.warnings)
    assert inspection.needs.features == frozenset()


def test_a_default_that_does_not_fit_is_a_warning() -> None:
    inspection = loading.inspect(build(tool("{a: {type: int, default: x}, b: {type: int, default: 0}}")), Path("/p"))
    assert inspection.warnings == ("The default of a is a text, but must be a whole number.",)


WORDS = st.sampled_from(["", "a", "#a", "string", "File[]?", "$(1)", "main", "CommandLineTool", "v1.2", "../x", "0"])
KEYS = st.sampled_from([
    "class", "id", "type", "items", "fields", "symbols", "inputs", "outputs", "steps", "run", "in", "out", "source",
    "outputSource", "scatter", "when", "default", "requirements", "hints", "$import", "$include", "$mixin", "$graph",
    "$namespaces", "$base", "listing", "dockerPull", "secondaryFiles", "location", "format", "doc", "s:x",
])  # fmt: skip
VALUES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers(-2, 2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=6), st.sampled_from(["CommandLineTool", "Workflow", "ExpressionTool"]))
@settings(max_examples=150, deadline=None)
def test_any_document_is_loaded_or_refused(fields: dict[str, object], kind: str) -> None:
    document = {"cwlVersion": "v1.2", "class": kind, "inputs": [], "outputs": [], "steps": [], **fields}
    try:
        loading.inspect(build(json.dumps(document)), Path("/package"))
    except BrokerError as error:
        assert str(error)  # noqa: PT017 - any other exception fails the test
