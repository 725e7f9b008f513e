"""Finds what people get wrong in CWL, by line, before cwltool does, whose messages name no cure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from broker.errors import LimitError, PackageError, UnsupportedPackage
from broker.packages.graph import fragment
from broker.packages.references import position

MAX_PARAMETERS = 1000  # inputs, or outputs, of one process
VERSIONS = ("v1.0", "v1.1", "v1.2")
CLASSES = ("CommandLineTool", "Workflow", "ExpressionTool")
TYPES = ("string", "int", "long", "float", "double", "boolean", "File", "Directory", "Any", "null", "stdin", "stdout",
         "stderr", "array", "record", "enum")  # fmt: skip
# What people write for a type -> what CWL calls it.
OTHER_TYPES = {
    "str": "string", "text": "string", "char": "string", "date": "string", "datetime": "string", "url": "string",
    "uri": "string", "integer": "int", "number": "double", "numeric": "double", "real": "double", "decimal": "double",
    "bool": "boolean", "dir": "Directory", "folder": "Directory", "path": "File", "list": "array", "object": "record",
    "dict": "record", "map": "record", "none": "null", "any": "Any", "choice": "enum", "bigint": "long",
}  # fmt: skip
REQUIREMENTS = (
    "InlineJavascriptRequirement", "SchemaDefRequirement", "LoadListingRequirement", "DockerRequirement",
    "SoftwareRequirement", "InitialWorkDirRequirement", "EnvVarRequirement", "ShellCommandRequirement",
    "ResourceRequirement", "WorkReuse", "NetworkAccess", "InplaceUpdateRequirement", "ToolTimeLimit",
    "SubworkflowFeatureRequirement", "ScatterFeatureRequirement", "MultipleInputFeatureRequirement",
    "StepInputExpressionRequirement",
)  # fmt: skip
CWLTOOL = "http://commonwl.org/cwltool#"
EXTENSIONS = frozenset(
    {"CUDARequirement", "TimeLimit", "WorkReuse", "NetworkAccess", "LoadListingRequirement", "InplaceUpdateRequirement"}
)


def document(parsed: Any, file: str, *, entry: bool = False) -> None:
    """Check a document that a package runs. Raises PackageError, UnsupportedPackage."""
    if not isinstance(parsed, Mapping):
        what = "it is empty" if parsed is None else "it is a list" if isinstance(parsed, list) else "it is plain text"
        if isinstance(parsed, str) and parsed.lstrip().startswith("<"):
            what = "it looks like a web page"
        raise PackageError(
            f"This is not a CWL document: {what}.",
            file=file,
            line=1,
            hint="A CWL document starts with cwlVersion: v1.2 and class: CommandLineTool or class: Workflow.",
        )
    if "$graph" not in parsed and "class" not in parsed:
        _not_cwl(parsed, file)
    _version(parsed, file)
    namespaces = parsed.get("$namespaces")
    namespaces = namespaces if isinstance(namespaces, Mapping) else {}
    if "$graph" not in parsed:
        _Lint(file, namespaces).process(parsed, "the document")
        return
    graph = parsed["$graph"]
    if isinstance(graph, Mapping):
        graph = list(graph.values())
    if not isinstance(graph, Sequence) or isinstance(graph, str) or not graph:
        raise _wrong(
            file, parsed, "$graph", "$graph must be a list of processes.", "Write each process as a list item."
        )
    lint = _Lint(file, namespaces)
    for index, one in enumerate(graph):
        if not isinstance(one, Mapping):
            raise _wrong(
                file, graph, index, "This item of $graph is not a process.", "Write a mapping with id and class."
            )
        if "$import" not in one and "$include" not in one:
            lint.process(one, f"item {index + 1} of $graph")


def _wrong(file: str, node: Any, key: Any, detail: str, hint: str | None = None) -> PackageError:
    line, column = position(node, key)
    return PackageError(detail, file=file, line=line, column=column, hint=hint)


def _start(file: str, node: Any, detail: str, hint: str | None = None) -> PackageError:
    lc = getattr(node, "lc", None)
    line, column = (lc.line + 1, lc.col + 1) if lc is not None and lc.line is not None else (None, None)
    return PackageError(detail, file=file, line=line, column=column, hint=hint)


def _not_cwl(parsed: Mapping[str, Any], file: str) -> None:
    what = "it has neither class nor $graph"
    if "process_graph" in parsed:
        what = "it looks like an openEO process"
    elif {"apiVersion", "kind"} <= set(parsed):
        what = "it looks like a Kubernetes or Argo manifest"
    elif "executionUnit" in parsed:
        what = "it looks like an OGC application package (send it as application/ogcapppkg+json)"
    elif near := get_close_matches("class", [str(key) for key in parsed], 1):
        raise _wrong(file, parsed, near[0], f"{near[0]!r} is not a field of CWL.", "Write class.")
    elif "cwlVersion" in parsed:
        raise _start(file, parsed, "The document has no class.", "Write class: CommandLineTool or class: Workflow.")
    raise _start(
        file,
        parsed,
        f"This is not a CWL document: {what}.",
        "A CWL document starts with cwlVersion: v1.2 and class: CommandLineTool or class: Workflow.",
    )


def _version(parsed: Mapping[str, Any], file: str) -> None:
    if "cwlVersion" not in parsed:
        raise _start(file, parsed, "The document has no cwlVersion.", "Write cwlVersion: v1.2 as its first line.")
    version = parsed["cwlVersion"]
    plain = re.sub(r"^(?:cwl:|https://w3id.org/cwl/cwl#)", "", str(version))
    if isinstance(version, str) and plain in VERSIONS:
        return
    if plain.lstrip("v") in ("1", "1.0", "1.1", "1.2"):
        hint = f"Write cwlVersion: v{plain.lstrip('v') if '.' in plain else '1.2'}."
    else:
        hint = "Write v1.2; `cwl-upgrader` converts older documents."
    raise _wrong(file, parsed, "cwlVersion", f"cwlVersion {version!r} is not one of {', '.join(VERSIONS)}.", hint)


class _Lint:
    def __init__(self, file: str, namespaces: Mapping[str, Any]) -> None:
        self.file = file
        self.namespaces = namespaces

    def process(self, process: Mapping[str, Any], what: str) -> None:
        name = fragment(process.get("id"))
        what = f"{name!r}" if name else what
        self.kind(process, what)
        custom = frozenset(_custom_types(process))
        for field in ("inputs", "outputs"):
            if field not in process:
                near = get_close_matches(field, [str(key) for key in process], 1, 0.8)
                hint = f"Write {field} in place of {near[0]}." if near else f"Write `{field}: []` where there are none."
                raise _start(self.file, process, f"{what} has no {field}.", hint)
            self.parameters(process, field, custom)
        for field in ("requirements", "hints"):
            self.requirements(process, field)
        if process["class"] == "Workflow":
            self.steps(process, what)

    def kind(self, process: Mapping[str, Any], what: str) -> None:
        kind = process.get("class")
        if "id" in process and not isinstance(process["id"], str):
            raise _wrong(self.file, process, "id", "An id must be a text.", "Put quotes around it.")
        if kind in CLASSES:
            return
        if kind == "Operation":
            line, column = position(process, "class")
            raise UnsupportedPackage(
                "An Operation describes a step that nothing can run.",
                file=self.file,
                line=line,
                column=column,
                hint="Replace it by a CommandLineTool, Workflow or ExpressionTool.",
            )
        if kind is None:
            raise _start(self.file, process, f"{what} has no class.", f"Write class: with one of {', '.join(CLASSES)}.")
        if isinstance(kind, str) and (kind.startswith("cwltool:") or kind.startswith(CWLTOOL)):
            line, column = position(process, "class")
            raise UnsupportedPackage(f"The class {kind} is not supported.", file=self.file, line=line, column=column)
        hint = _near(str(kind), CLASSES) or f"Write one of {', '.join(CLASSES)}."
        raise _wrong(self.file, process, "class", f"class: {kind} is not a CWL process.", hint)

    def parameters(self, process: Mapping[str, Any], field: str, custom: frozenset[str]) -> None:
        found = process[field]
        if isinstance(found, list | Mapping) and len(found) > MAX_PARAMETERS:
            raise LimitError(f"A process has more than {MAX_PARAMETERS} {field}.", hint="Put them into an array.")
        if isinstance(found, Mapping):
            if "$import" in found:
                return
            for key, value in found.items():
                if isinstance(value, Mapping):
                    self.parameter(value, custom)
                else:
                    self.type(found, key, value, custom)
        elif isinstance(found, Sequence) and not isinstance(found, str):
            for index, value in enumerate(found):
                if not isinstance(value, Mapping):
                    raise _wrong(self.file, found, index, f"This item of {field} is not a parameter.",
                                 "Write a mapping with id and type.")  # fmt: skip
                if "$import" not in value:
                    self.parameter(value, custom)
        else:
            raise _wrong(self.file, process, field, f"{field} must be a mapping or a list.",
                         f"Write `{field}: []` where there are none.")  # fmt: skip

    def parameter(self, parameter: Mapping[str, Any], custom: frozenset[str]) -> None:
        kind = parameter.get("type")
        for name, part in (("enum", "symbols"), ("array", "items"), ("record", "fields")):
            if kind == name and part in parameter:
                raise _wrong(
                    self.file,
                    parameter,
                    "type",
                    f"{part} belongs to the type, not beside it.",
                    f"Write type: {{type: {name}, {part}: …}}.",
                )
        if "type" in parameter:
            self.type(parameter, "type", parameter["type"], custom)

    def type(self, node: Any, key: Any, value: Any, custom: frozenset[str]) -> None:
        """Check a type, as far as misspelt names go; names that nobody knows are left to the resolver."""
        if isinstance(value, Mapping):
            for part in ("type", "items"):
                if part in value:
                    self.type(value, part, value[part], custom)
            fields = value.get("fields")
            named = fields.values() if isinstance(fields, Mapping) else fields if isinstance(fields, list) else ()
            for one in named:
                if isinstance(one, Mapping) and "type" in one:
                    self.type(one, "type", one["type"], custom)
        elif isinstance(value, list):
            for index, one in enumerate(value):
                self.type(value, index, one, custom)
        elif isinstance(value, str):
            if key == "items" and value.endswith(("[]", "?")):
                plain = value.removesuffix("?").removesuffix("[]")
                nested = f"{{type: array, items: {plain}}}" if value.endswith("[]") else f"['null', {plain}]"
                raise _wrong(self.file, node, key, f"items does not know the short form {value!r}.", f"Write {nested}.")
            name = value.removesuffix("?")
            while name.endswith("[]"):
                name = name[:-2]
            right = None if name in TYPES or name in custom else _known_type(name)
            if right is not None:
                better = value.replace(name, right, 1)
                raise _wrong(self.file, node, key, f"{value!r} is not a CWL type.", f"Write {better}.")

    def requirements(self, process: Mapping[str, Any], field: str) -> None:
        if field not in process:
            return
        found = process[field]
        if found is None or isinstance(found, str | int | float):
            raise _wrong(
                self.file, process, field, f"{field} must be a mapping or a list.", f"Fill {field}, or remove it."
            )
        if isinstance(found, Mapping):
            for key, value in found.items():
                if key not in ("$import", "$include", "$mixin"):
                    self.requirement(found, key, str(key), value, field)
        elif isinstance(found, Sequence) and not isinstance(found, str):
            for value in found:
                if isinstance(value, Mapping) and "$import" not in value:
                    if "class" not in value:
                        raise _start(self.file, value, f"This item of {field} has no class.")
                    self.requirement(value, "class", str(value["class"]), value, field)

    def requirement(self, node: Any, key: str, name: str, body: Any, field: str) -> None:
        if field == "hints":
            return
        line, column = position(node, key)
        if line is not None and key != "class":  # the key of a mapping: its own place, not its value's
            line, column = node.lc.data[key][0] + 1, node.lc.data[key][1] + 1
        place: dict[str, Any] = {"file": self.file, "line": line, "column": column}
        full = self.expand(name)
        plain = full.rpartition("#")[2] if full.startswith("https://w3id.org/cwl/cwl#") else name
        if full.startswith(CWLTOOL):
            if full.removeprefix(CWLTOOL) not in EXTENSIONS:
                raise UnsupportedPackage(f"The requirement {name} is not supported.", hint="Move it to hints.", **place)
        elif plain == "SoftwareRequirement":
            raise UnsupportedPackage(
                "Software is not installed here.", hint="Move SoftwareRequirement to hints.", **place
            )
        elif plain not in REQUIREMENTS:
            raise UnsupportedPackage(
                f"The requirement {name} is not known.", hint=_near(name, REQUIREMENTS) or "Move it to hints.", **place
            )
        if plain == "DockerRequirement" and isinstance(body, Mapping):
            for part in ("dockerFile", "dockerLoad", "dockerImport"):
                if part in body:
                    raise UnsupportedPackage(
                        f"DockerRequirement with {part} is not supported.",
                        hint="Push the image to a registry and name it with dockerPull.",
                        **place,
                    )
            if not body.get("dockerPull") and not body.get("dockerImageId"):
                raise PackageError(
                    "DockerRequirement names no image.", hint="Write dockerPull: with an image.", **place
                )

    def expand(self, name: str) -> str:
        prefix, colon, rest = name.partition(":")
        if not colon or rest.startswith("//"):
            return name
        default = CWLTOOL if prefix == "cwltool" else "https://w3id.org/cwl/cwl#" if prefix == "cwl" else None
        base = self.namespaces.get(prefix, default)
        return f"{base}{rest}" if isinstance(base, str) else name

    def steps(self, process: Mapping[str, Any], what: str) -> None:
        if "steps" not in process:
            raise _start(
                self.file, process, f"The workflow {what} has no steps.", "Write `steps: []` where there are none."
            )
        found = process["steps"]
        if isinstance(found, Mapping):
            if "$import" in found:
                return
            items: list[tuple[str, Any, Any]] = [(str(key), found, key) for key in found]
        elif isinstance(found, Sequence) and not isinstance(found, str):
            items = [(fragment(one.get("id")) if isinstance(one, Mapping) else "", found, index)
                     for index, one in enumerate(found)]  # fmt: skip
        else:
            raise _wrong(self.file, process, "steps", "steps must be a mapping or a list.")
        for name, node, key in items:
            self.step(name, node, key)

    def step(self, name: str, node: Any, key: Any) -> None:
        body = node[key]
        what = f"The step {name!r}" if name else "A step"
        if not isinstance(body, Mapping):
            raise _wrong(self.file, node, key, f"{what} is not a mapping.", "Write run, in and out.")
        if "$import" in body or "$mixin" in body:
            return
        for part, hint in (
            ("run", "Write run: with a file, an #id of this document, or a tool."),
            ("in", "Write `in: {}` where it takes nothing."),
            ("out", "Write `out: []` where it gives nothing."),
        ):
            if part not in body:
                raise _start(self.file, body, f"{what} has no {part}.", hint)
        run = body["run"]
        if isinstance(run, Mapping) and "$import" not in run:
            self.process(run, f"the tool of step {name!r}")
        elif not isinstance(run, str | Mapping):
            raise _wrong(self.file, body, "run", f"run of the step {name!r} is neither a reference nor a process.")
        self.requirements(body, "requirements")


def _custom_types(process: Mapping[str, Any]) -> Iterator[str]:
    """Short names of the types that a process defines itself."""
    found = process.get("requirements")
    schemas: list[Any] = []
    if isinstance(found, Mapping):
        schemas = [found.get("SchemaDefRequirement")]
    elif isinstance(found, list):
        schemas = [one for one in found if isinstance(one, Mapping) and one.get("class") == "SchemaDefRequirement"]
    for schema in schemas:
        types = schema.get("types") if isinstance(schema, Mapping) else None
        for one in types if isinstance(types, list) else ():
            if isinstance(one, Mapping) and isinstance(one.get("name"), str):
                yield fragment(one["name"])


def _known_type(name: str) -> str | None:
    """The CWL type that a misspelt one means, if any."""
    lower = name.lower()
    if lower in OTHER_TYPES:
        return OTHER_TYPES[lower]
    for known in TYPES:
        if lower == known.lower():
            return known
    if not re.fullmatch(r"[A-Za-z]+", name):
        return None
    near = get_close_matches(lower, [known.lower() for known in TYPES], 1, 0.8)
    return next((known for known in TYPES if near and known.lower() == near[0]), None)


def _near(name: str, known: Sequence[str]) -> str | None:
    lower = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), list(lower), 1, 0.85)
    if not found:  # `Docker` for DockerRequirement
        stem = name.lower().removesuffix("requirement")
        found = [one for one in lower if get_close_matches(stem, [one.removesuffix("requirement")], 1, 0.75)]
    return f"Did you mean {lower[found[0]]}?" if found else None
