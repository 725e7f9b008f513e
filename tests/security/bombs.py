"""Documents that are small to send and large to read: (media type, what makes the body) by name."""

from __future__ import annotations

import json
from collections.abc import Callable

Make = Callable[[], bytes]
YAML, JSON, PACKAGE = "application/cwl+yaml", "application/cwl+json", "application/ogcapppkg+json"
DEEP = 200_000


def steps(count: int) -> bytes:
    """A workflow of so many steps."""
    lines = ["cwlVersion: v1.2", "class: Workflow", "id: many", "inputs: {a: string}", "outputs: []", "steps:"]
    tool = "{class: CommandLineTool, baseCommand: echo, inputs: {t: string}, outputs: []}"
    for number in range(count):
        lines += [f"  s{number}:", f"    run: {tool}", "    in: {t: a}", "    out: []"]
    return "\n".join(lines).encode()


def steps_in_json(count: int) -> bytes:
    tool = {"class": "CommandLineTool", "baseCommand": "echo", "inputs": {"t": "string"}, "outputs": []}
    step = {"run": tool, "in": {"t": "a"}, "out": []}
    full = {"cwlVersion": "v1.2", "class": "Workflow", "inputs": {"a": "string"}, "outputs": []}
    return json.dumps(full | {"steps": {f"s{number}": step for number in range(count)}}).encode()


def aliases(levels: int) -> bytes:
    """Each level is ten times the one before it."""
    lines = ["cwlVersion: v1.2", "class: CommandLineTool", "baseCommand: echo", "inputs: []", "outputs: []"]
    lines.append("a0: &a0 [x, x, x, x, x, x, x, x, x, x]")
    for level in range(1, levels):
        lines.append(f"a{level}: &a{level} [" + ", ".join([f"*a{level - 1}"] * 10) + "]")
    return "\n".join(lines).encode()


def merges(count: int) -> bytes:
    """Merge keys (`<<`) of merge keys."""
    lines = ["a0: &a0 {k: 1}"]
    for number in range(1, count):
        lines.append(f"a{number}: &a{number} {{<<: [{', '.join([f'*a{number - 1}'] * 10)}], k{number}: 1}}")
    return "\n".join(lines).encode()


def cycle() -> bytes:
    return b"cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: echo\ninputs: &a {b: *a}\noutputs: []\n"


def nested(opening: bytes, closing: bytes, depth: int = DEEP) -> bytes:
    return opening * depth + b"1" + closing * depth


def packed(inner: bytes) -> bytes:
    """Inside an OGC application package."""
    return b'{"executionUnit": {"type": "application/cwl", "value": ' + inner + b"}}"


DOCUMENTS: dict[str, tuple[str, Make]] = {
    "10,000 steps": (YAML, lambda: steps(10_000)),
    "10,000 steps in JSON": (JSON, lambda: steps_in_json(10_000)),
    "1,000 steps": (YAML, lambda: steps(1000)),
    "aliases": (YAML, lambda: aliases(9)),
    "aliases, 30 levels": (YAML, lambda: aliases(30)),
    "merges": (YAML, lambda: merges(30)),
    "a cycle": (YAML, cycle),
    "brackets in YAML": (YAML, lambda: nested(b"[", b"]")),
    "braces in YAML": (YAML, lambda: nested(b"{a: ", b"}")),
    "brackets in JSON": (JSON, lambda: nested(b"[", b"]")),
    "braces in JSON": (JSON, lambda: nested(b'{"a":', b"}")),
    "deep package": (PACKAGE, lambda: packed(nested(b'{"a":', b"}"))),
    "less deep package": (PACKAGE, lambda: packed(nested(b'{"a":', b"}", 900))),
    "8 MB of scalars": (YAML, lambda: b"a:\n" + b"- x\n" * 1_900_000),
    "a number of 1 MB": (JSON, lambda: b'{"a": ' + b"9" * 1_000_000 + b"}"),
    "a number of 1 MB in YAML": (YAML, lambda: b"a: " + b"9" * 1_000_000),
    "1 MB of keys": (JSON, lambda: json.dumps({f"k{number}": 1 for number in range(70_000)}).encode()),
    "a tag that makes objects": (YAML, lambda: b"a: !!python/object/apply:os.system ['true']"),
    "blanks": (YAML, lambda: b" " * 1_900_000 + b"a: b"),
    "line ends": (YAML, lambda: b"\n" * 1_900_000 + b"a: b"),
    "half a character": (YAML, lambda: b"a: \xff\xfe"),
}


def inputs(inner: bytes) -> bytes:
    return b'{"inputs": {"text": ' + inner + b"}}"


REQUESTS: dict[str, Make] = {
    "brackets": lambda: inputs(nested(b"[", b"]")),
    "fewer brackets": lambda: inputs(nested(b"[", b"]", 900)),
    "braces": lambda: inputs(nested(b'{"a":', b"}")),
    "fewer braces": lambda: inputs(nested(b'{"a":', b"}", 900)),
    "an array of 4,000,000": lambda: inputs(b"[" + b"1," * 3_900_000 + b"1]"),
    "an array of 2,500,000 arrays": lambda: inputs(b"[" + b"[]," * 2_500_000 + b"1]"),
    "an array of 2,500,000 objects": lambda: inputs(b"[" + b"{}," * 2_500_000 + b"1]"),
    "333,000 places": lambda: inputs(b"[" + b"[1.5,2.5]," * 333_000 + b"1]"),
    "199,000 inputs": lambda: json.dumps({"inputs": {f"k{number}": 1 for number in range(199_000)}}).encode(),
    "500,000 inputs": lambda: json.dumps({"inputs": {f"k{number}": 1 for number in range(500_000)}}).encode(),
    "500,000 members": lambda: json.dumps({f"inpu{number}": 1 for number in range(500_000)}).encode(),
    "100,000 outputs": lambda: json.dumps(
        {"inputs": {"text": "x"}, "outputs": {f"k{number}": {} for number in range(100_000)}}
    ).encode(),
    "100,000 tags": lambda: json.dumps({"inputs": {"text": "x"}, "tags": ["a"] * 100_000}).encode(),
    "a number of 1 MB": lambda: inputs(b"9" * 1_000_000),
    "a name of 1 MB": lambda: json.dumps({"inputs": {"x" * 1_000_000: 1}}).encode(),
    "NUL": lambda: inputs(b'"\\u0000"'),
    "not UTF-8": lambda: inputs(b'"\xff"'),
}
