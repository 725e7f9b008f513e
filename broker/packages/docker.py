"""Makes a CommandLineTool of a container image that an OGC application package describes (class `docker`, Part 2)."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from broker.errors import PackageError

_TYPES = {"string": "string", "integer": "long", "number": "double", "boolean": "boolean", "object": "Any"}


def tool(unit: Mapping[str, Any], described: Mapping[str, Any]) -> dict[str, Any]:
    """A CWL document for `executionUnit` (`image`, `config`, `bindings`) with the inputs and outputs of `described`.

    Inputs become options `--name value` unless `bindings.inputBindings` says otherwise; an output is what its
    `outputBinding` globs, else the file or directory of its name. Raises PackageError.
    """
    image = unit.get("image")
    if not isinstance(image, str) or not image.strip():
        raise PackageError("The executionUnit names no container image.", hint='Write "image": "registry/name:tag".')
    config, bindings = _member(unit, "config"), _member(unit, "bindings")
    document: dict[str, Any] = {
        "cwlVersion": "v1.2",
        "class": "CommandLineTool",
        "label": described.get("title") or image,
        "requirements": {"DockerRequirement": {"dockerPull": image.strip().removeprefix("docker://")}},
        "inputs": {},
        "outputs": {},
    }
    resources = _resources(config)
    if resources:
        document["requirements"]["ResourceRequirement"] = resources
    if isinstance(config.get("jobTimeout"), int | float):
        document["requirements"]["ToolTimeLimit"] = {"timelimit": int(config["jobTimeout"])}
    command = unit.get("command") or _entry_point(described)
    if command:
        document["baseCommand"] = _split(command) if isinstance(command, str) else command
    for name, one in named(described.get("inputs")):
        document["inputs"][name] = _input(name, one, _part(bindings, "inputBindings", name))
    for name, one in named(described.get("outputs")):
        document["outputs"][name] = _output(name, one, _part(bindings, "outputBindings", name))
    if bindings and "$" in json.dumps(bindings):
        document["requirements"]["InlineJavascriptRequirement"] = {}
    if any(one["inputBinding"].get("shellQuote") is False for one in document["inputs"].values()):
        document["requirements"]["ShellCommandRequirement"] = {}
    return document


def _entry_point(described: Mapping[str, Any]) -> str | None:
    """The command that `additionalParameters` names `entry-point`, without the container call around it."""
    found = described.get("additionalParameters")
    if isinstance(found, Mapping):
        found = found.get("parameters")
    for one in found if isinstance(found, list) else ():
        value = one.get("value") if isinstance(one, Mapping) and one.get("name") == "entry-point" else None
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, str):
            words = _split(value)
            if words[:2] in (["singularity", "exec"], ["apptainer", "exec"]):
                words = words[3:]
            return shlex.join(words)
    return None


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise PackageError(f"The command {command[:200]!r} cannot be split into words: {error}.") from None


def named(parameters: Any) -> list[tuple[str, Mapping[str, Any]]]:
    """The inputs or outputs of a description: an object by name, or a list of such with ids."""
    if isinstance(parameters, Mapping):
        return [(str(name), one) for name, one in parameters.items() if isinstance(one, Mapping)]
    if isinstance(parameters, list):
        return [(str(one["id"]), one) for one in parameters if isinstance(one, Mapping) and "id" in one]
    return []


def _part(bindings: Mapping[str, Any], side: str, name: str) -> Mapping[str, Any]:
    found = bindings.get(side)
    one = found.get(name) if isinstance(found, Mapping) else None
    return one if isinstance(one, Mapping) else {}


def _member(unit: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = unit.get(name) or {}
    if not isinstance(found, Mapping):
        raise PackageError(f"The {name} of the executionUnit is not an object.")
    return found


def _resources(config: Mapping[str, Any]) -> dict[str, Any]:
    """Cores as they are; memory and storage from GB to MiB."""
    found: dict[str, Any] = {}
    for key, name, factor in (
        ("cpuMin", "coresMin", 1.0), ("cpuMax", "coresMax", 1.0), ("memoryMin", "ramMin", 1e9 / 2**20),
        ("memoryMax", "ramMax", 1e9 / 2**20), ("storageTempMin", "tmpdirMin", 1e9 / 2**20),
        ("storageOutputsMin", "outdirMin", 1e9 / 2**20),
    ):  # fmt: skip
        value = config.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
            found[name] = max(1, round(value * factor))
    return found


def schema_of(one: Mapping[str, Any]) -> Mapping[str, Any]:
    """The schema of an input or output that is described."""
    schema = one.get("schema")
    return schema if isinstance(schema, Mapping) else {}


def _input(name: str, one: Mapping[str, Any], binding: Mapping[str, Any]) -> dict[str, Any]:
    schema = schema_of(one)
    kind = occurring(one, cwl_type(schema))
    found: dict[str, Any] = {"type": kind, "label": one.get("title") or name, "inputBinding": _bound(name, binding)}
    if isinstance(one.get("description"), str):
        found["doc"] = one["description"]
    if schema.get("default") is not None:
        found["default"] = schema["default"]
    return found


def occurring(one: Mapping[str, Any], kind: Any) -> Any:
    """The CWL type of an input that is described, which may be given never, or more than once."""
    schema, most = schema_of(one), one.get("maxOccurs", 1)
    if schema.get("type") != "array" and (most == "unbounded" or (isinstance(most, int) and most > 1)):
        kind = {"type": "array", "items": kind}
    if one.get("minOccurs") == 0 or schema.get("nullable") is True:
        kind = ["null", kind]
    return kind


def _bound(name: str, binding: Mapping[str, Any]) -> dict[str, Any]:
    """The CWL binding of inputBinding.yaml: the option `--name` unless a binding says where the value goes."""
    bound: dict[str, Any] = {}
    prefix = binding.get("prefix")
    if isinstance(prefix, str):
        bound["prefix"] = prefix
        if prefix.endswith("="):
            bound["separate"] = False
    elif "position" not in binding and "valueFrom" not in binding:
        bound["prefix"] = f"--{name}"
    if isinstance(binding.get("position"), int | str):
        bound["position"] = binding["position"]
    if isinstance(binding.get("valueFrom"), str):
        bound["valueFrom"] = binding["valueFrom"]
    separator = binding.get("itemSeparator", binding.get("inputSeparator"))  # the standard's example has the latter
    if isinstance(separator, str):
        bound["itemSeparator"] = separator
    if binding.get("shellQuote") is False:
        bound["shellQuote"] = False
    return bound


def cwl_type(schema: Mapping[str, Any]) -> Any:
    """The CWL type of a value that a JSON schema describes."""
    alternatives = schema.get("oneOf") or schema.get("anyOf") or schema.get("allOf")
    if isinstance(alternatives, list) and alternatives and isinstance(alternatives[0], Mapping):
        return cwl_type(alternatives[0])
    if schema.get("format") == "directory":
        return "Directory"
    if (
        schema.get("format") == "file"
        or "contentMediaType" in schema
        or "contentEncoding" in schema
        or schema.get("format") in ("binary", "byte")
    ):
        return "File"
    if schema.get("type") == "array":
        items = schema.get("items")
        return {"type": "array", "items": cwl_type(items) if isinstance(items, Mapping) else "Any"}
    if schema.get("type") == "string" and isinstance(schema.get("enum"), list):
        return {"type": "enum", "symbols": list(dict.fromkeys(str(one) for one in schema["enum"]))}
    return _TYPES.get(str(schema.get("type")), "Any")


def _output(name: str, one: Mapping[str, Any], binding: Mapping[str, Any]) -> dict[str, Any]:
    glob = binding.get("glob")
    kind = "Directory" if schema_of(one).get("format") == "directory" else "File"
    named = isinstance(glob, str | list) and glob
    pattern = glob if named else [name, f"{name}.*"]
    return {"type": kind, "label": one.get("title") or name, "outputBinding": {"glob": pattern}}
