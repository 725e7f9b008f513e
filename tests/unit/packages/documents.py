"""Compact CWL documents for the tests of packages, and their inspection without a runner."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from broker.packages.bundle import build
from broker.packages.cwl import Inspection
from broker.runner import loading

EOAP = "https://raw.githubusercontent.com/eoap/schemas/main"


def tool(inputs: str = "[]", outputs: str = "[]", more: str = "", version: str = "v1.2") -> str:
    """A CommandLineTool; `inputs` and `outputs` in flow style, `more` as further lines."""
    head = f"cwlVersion: {version}\nclass: CommandLineTool\nbaseCommand: echo\n"
    return f"{head}{more}inputs: {inputs}\noutputs: {outputs}\n"


def schemas(*names: str) -> str:
    """The lines that import eoap's schema files, for `more` of `tool`."""
    imports = ", ".join(f'{{$import: "{EOAP}/{name}.yaml"}}' for name in names)
    return f"requirements: {{SchemaDefRequirement: {{types: [{imports}]}}}}\n"


@cache
def inspected(text: str, process: str | None = None) -> Inspection:
    return loading.inspect(build(text, process=process), Path("/package"))
