"""CWL tools that name an openEO process, by the hint `earthcode:OpenEOProcess`: what they call is written into the
package when it is deployed, so that a platform has nothing to look up, and nothing of CWL to read.

    hints:
      earthcode:OpenEOProcess:
        process_id: ndwi
        namespace: https://example.org/ndwi.json     # or none: a process that the back-end has
        arguments: {area: $(inputs.box)}             # parameter: value, or an input; default: inputs of the same name
        save_result: {format: GTiff}                 # where the process does not save its result itself
        job_options: {driver-memory: 2g}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from broker.errors import BrokerError, PackageError, UnsupportedPackage
from broker.packages import openeo
from broker.packages.closure import Read
from broker.packages.keys import is_url
from broker.packages.resolved import expand, written

CALL = "openeo-call.json"  # the document that is added: {process, arguments, defaults, outputs}
_INPUT = re.compile(r"\$\(\s*inputs\.(\w+)\s*\)")
_MEMBERS = frozenset({"class", "process_id", "namespace", "arguments", "save_result", "job_options"})


def documents(document: Any, name: str, known: Mapping[str, str]) -> dict[str, str]:
    """What a package of this tool holds besides the processes that it names (`known`, see `namespaces`): the call of
    its own; {} for any other tool.

    Raises PackageError, UnsupportedPackage.
    """
    tool = written(document, name)
    hint = _hint(tool, document.get("$namespaces") or {}) if tool.get("class") == "CommandLineTool" else None
    if hint is None:
        return {}
    if unknown := {*hint} - _MEMBERS:
        raise PackageError(f"The hint OpenEOProcess has no member {min(unknown)!r}.")
    process_id, namespace = hint.get("process_id"), hint.get("namespace")
    if not isinstance(process_id, str):
        raise PackageError("The hint OpenEOProcess names no process_id.")
    inputs = {key: one for key, one in _parameters(tool.get("inputs"))}
    if isinstance(namespace, str) and is_url(namespace):
        process = _defined(namespace, known[namespace], process_id)
    else:
        process = _predefined(process_id, namespace, [*(hint.get("arguments") or inputs)])
    call = {
        "process": _saved(process, hint),
        "arguments": _arguments(hint, process, inputs),
        "defaults": {key: one["default"] for key, one in inputs.items() if "default" in one},
        "outputs": {key: _output(key, one) for key, one in _parameters(tool.get("outputs"))},
    }
    return {CALL: json.dumps(call, indent=1, ensure_ascii=False, sort_keys=True)}


def namespaces(documents: Iterable[Any], read: Read | None) -> dict[str, str]:
    """The processes elsewhere that tools in these documents name, by their addresses: for steps, which are sent to a
    platform by themselves. Raises PackageError."""
    urls = {url for document in documents for url in _urls(document, document.get("$namespaces") or {})}
    return {url: _read(url, read) for url in sorted(urls)}


def _urls(value: Any, prefixes: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _urls(one, prefixes)
    elif isinstance(value, Mapping):
        namespace = (_hint(value, prefixes) or {}).get("namespace")
        if isinstance(namespace, str) and is_url(namespace):
            yield namespace
        for one in value.values():
            yield from _urls(one, prefixes)


def _hint(tool: Mapping[str, Any], namespaces: Any) -> Mapping[str, Any] | None:
    hints = tool.get("hints") or []
    if isinstance(hints, Mapping):
        hints = [{"class": key, **(body if isinstance(body, Mapping) else {})} for key, body in hints.items()]
    known = namespaces if isinstance(namespaces, Mapping) else {}
    found = [one for one in hints if isinstance(one, Mapping)] if isinstance(hints, list) else []
    return next((one for one in found if expand(str(one.get("class")), known) == openeo.HINT), None)


def _parameters(found: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for key, one in found.items() if isinstance(found, Mapping) else ((one.get("id"), one) for one in found or ()):
        yield str(key).rpartition("#")[2].rpartition("/")[2], one if isinstance(one, Mapping) else {"type": one}


def _read(url: str, read: Read | None) -> str:
    if read is None:
        raise PackageError(f"The openEO process {url} is not read here.")
    try:
        return read(url).decode()
    except (BrokerError, UnicodeDecodeError, OSError) as error:
        raise PackageError(f"The openEO process {url} cannot be read: {error}") from error


def _defined(url: str, text: str, process_id: str) -> dict[str, Any]:
    """The process of a document, which must be the one that the hint names."""
    made = openeo.documents(text, url, process_id, None)
    process = openeo.process_of(made[1], made[0]) if made is not None else {}
    if process.get("id") != process_id:
        raise PackageError(f"{url} does not hold the openEO process {process_id!r}.")
    return process


def _predefined(process_id: str, namespace: Any, names: list[str]) -> dict[str, Any]:
    """A call of a process that the back-end has, as a process of its own."""
    node: dict[str, Any] = {"process_id": process_id, "arguments": {one: {"from_parameter": one} for one in names}}
    if namespace is not None:
        node["namespace"] = namespace
    parameters = [{"name": one, "optional": True} for one in names]
    return {"id": process_id, "parameters": parameters, "process_graph": {"call": {**node, "result": True}}}


def _saved(process: dict[str, Any], hint: Mapping[str, Any]) -> dict[str, Any]:
    """The process with what the hint says of its result and of its job."""
    found = dict(process)
    if isinstance(hint.get("job_options"), Mapping):
        found["default_job_options"] = {**(process.get("default_job_options") or {}), **hint["job_options"]}
    save = hint.get("save_result")
    if isinstance(save, Mapping) and not openeo.saves(process):
        found["process_graph"] = openeo.saving(process["process_graph"], str(save.get("format")), save.get("options"))
    return found


def _arguments(
    hint: Mapping[str, Any], process: Mapping[str, Any], inputs: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """parameter -> {input} or {value}."""
    known = [one["name"] for one in process.get("parameters") or ()]
    given = hint.get("arguments")
    if given is None:
        return {name: {"input": name} for name in known if name in inputs}
    found: dict[str, dict[str, Any]] = {}
    for name, value in given.items() if isinstance(given, Mapping) else ():
        if name not in known:
            raise PackageError(f"The openEO process {process['id']} has no parameter {name!r}.")
        reference = _INPUT.fullmatch(value) if isinstance(value, str) else None
        if reference and reference[1] not in inputs:
            raise PackageError(f"The argument {name} is the input {reference[1]!r}, which the tool does not have.")
        if reference is None and isinstance(value, str) and ("$(" in value or "${" in value):
            raise UnsupportedPackage(
                f"The argument {name} is an expression; only $(inputs.NAME) as a whole can be sent."
            )
        found[name] = {"input": reference[1]} if reference else {"value": value}
    return found


def _output(name: str, one: Mapping[str, Any]) -> dict[str, Any]:
    """How an output is found among the assets: its type, and the pattern of their names."""
    kind, glob = one.get("type"), (one.get("outputBinding") or {}).get("glob")
    if isinstance(kind, Mapping) and kind.get("type") == "array":
        kind = f"{kind.get('items')}[]"
    plain = str(kind).removesuffix("?")
    if plain not in ("Directory", "File", "File[]"):
        raise UnsupportedPackage(f"The output {name} of an openEO process is a File, File[] or Directory, not {kind}.")
    if not isinstance(glob, str) or "$" in glob:
        raise UnsupportedPackage(f"The output {name} of an openEO process needs a glob that is one pattern.")
    return {"type": plain, "glob": glob, "optional": str(kind).endswith("?")}


def reads_files(documents: Mapping[str, str]) -> bool:
    """Whether the process that a tool calls reads files of the account's workspace (`openeo.uploaded`)."""
    return CALL in documents and bool(openeo.uploaded(json.loads(documents[CALL])["process"]))


def called(bundle: Mapping[str, Any], order: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """The process that a package is or calls, its parameters (as a job order has them), and how the outputs of a tool
    are found (None for a process by itself)."""
    found = bundle["documents"]
    if bundle["kind"] == openeo.KIND:
        return openeo.process_of(found, bundle["entry"]), dict(order), None
    call = json.loads(found[CALL])
    given = {**call["defaults"], **order}
    values = {
        name: one["value"] if "value" in one else given.get(one["input"]) for name, one in call["arguments"].items()
    }
    return call["process"], values, call["outputs"]
