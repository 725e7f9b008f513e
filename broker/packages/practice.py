"""Checks a package against the best practice for Earth observation applications (OGC 20-089r1), as data only.

The rules, their names and what counts as an error are those of eoap-validator 0.3.1 (profile eoap-package), which
itself reads files and the network and runs cwltool's command line, and so has no place where strangers' packages are
read. `tests/unit/packages/test_practice.py` runs both on the same documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from broker.errors import BrokerError
from broker.packages.bundle import Bundle
from broker.packages.cwl import parse
from broker.packages.describe import SCHEMA_ORG
from broker.packages.graph import choose, fragment, processes
from broker.packages.keys import is_url
from broker.packages.references import Reference, Use, position, resolve
from broker.packages.resolved import expand

MOST = 200  # findings of one package
MOST_TOLD = 20  # of them as warnings
RESOURCES = ("coresMin", "coresMax", "ramMin", "ramMax")
_VERSIONS = tuple(base + name for base in SCHEMA_ORG for name in ("softwareVersion", "version"))


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that is not kept. `path`: process/field/parameter; `error`: False for what is only advised."""

    rule: str
    error: bool
    path: str
    message: str
    file: str
    line: int | None

    def to_json(self) -> dict[str, Any]:
        return {"rule": self.rule, "severity": "error" if self.error else "warning", "path": self.path,
                "message": self.message, "file": self.file, "line": self.line}  # fmt: skip


def findings(bundle: Bundle) -> list[Finding]:
    """What the best practice says against a package: nothing where its process is no Workflow, for it is then none of
    its packages."""
    document = parse(bundle.documents[bundle.document], bundle.document)
    entry = _named(document, bundle.entry.partition("#")[2])
    if entry is None or entry.get("class") != "Workflow":
        return []
    found = _Practice(bundle)
    found.version(bundle.document, document)
    found.single(bundle.document, document)
    found.package(bundle.document, entry)
    return list(found.findings.values())[:MOST]


def told(found: list[Finding]) -> list[str]:
    """The findings as warnings: each rule that is not kept (the first ones), and how many more are advised."""
    errors = [one for one in found if one.error]
    words = [
        f"Best practice for EO packages: {one.message} ({one.rule}, line {one.line})" for one in errors[:MOST_TOLD]
    ]
    others = len(found) - len(words)
    if others:
        more = "more remarks" if words else "remarks"
        words.append(f"Best practice for EO packages: {others} {more}, which `broker check` lists.")
    return words


def stages(process: Mapping[str, Any]) -> bool:
    """Whether a process (of an inspection) takes or gives Directories, as packages for Earth observation do."""
    return any(_directory(one["type"]) for side in ("inputs", "outputs") for one in process[side])


def _directory(kind: Any) -> bool:
    if isinstance(kind, list):
        return any(_directory(one) for one in kind)
    return kind == "Directory" or (isinstance(kind, Mapping) and _directory(kind.get("items")))


def _named(document: Any, name: str) -> Mapping[str, Any] | None:
    found = processes(document)
    return next((one for one in found if not name or fragment(one.get("id")) == name), None)


def _filled(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, list):
        return bool(value) and all(_filled(one) for one in value)
    return value is not None and value is not False


def _entries(value: Any, key: str) -> Iterator[tuple[str, Mapping[str, Any], int | None]]:
    """Name, body and line of the entries of a list or mapping; `key` names the entries of a list."""
    if isinstance(value, Mapping):
        for name, body in value.items():
            yield fragment(name), body if isinstance(body, Mapping) else {}, position(value, name)[0]
    elif isinstance(value, list):
        for index, body in enumerate(value):
            if isinstance(body, Mapping):
                yield fragment(body.get(key)).rpartition("/")[2], body, position(value, index)[0]


def _effective(owner: Mapping[str, Any], inherited: Mapping[str, Any]) -> dict[str, Any]:
    """Requirements by class, hints by `hint:` and class, with those of the workflows around."""
    found = dict(inherited)
    for field, mark in (("hints", "hint:"), ("requirements", "")):
        for name, body, _ in _entries(owner.get(field), "class"):
            found[mark + name] = body
    return found


class _Practice:
    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.parsed: dict[str, Any] = {}
        self.findings: dict[tuple[str, str], Finding] = {}
        self.tools = 0

    def document(self, key: str) -> Any:
        if key not in self.parsed:
            self.parsed[key] = parse(self.bundle.documents.get(key, ""), key)
        return self.parsed[key]

    def add(self, rule: str, path: str, message: str, file: str, line: int | None, *, error: bool = True) -> None:
        self.findings.setdefault((rule, path), Finding(rule, error, path, message, file, line))

    def version(self, file: str, document: Any) -> None:
        spaces = document.get("$namespaces")
        spaces = spaces if isinstance(spaces, Mapping) else {}
        values = [value for key, value in document.items() if expand(str(key), spaces) in _VERSIONS]
        if not any(isinstance(value, str | int | float) and str(value).strip() for value in values):
            self.add("EOAP.REQ11.VERSION", "metadata/softwareVersion",
                     "The package has no s:softwareVersion beside cwlVersion.", file, 1)  # fmt: skip

    def single(self, file: str, document: Any) -> None:
        """The package is one document: other files must not be there when it is published by a link."""
        for one in processes(document):
            for name, step, line in _entries(one.get("steps"), "id") if one.get("class") == "Workflow" else ():
                run = step.get("run")
                if isinstance(run, str) and not run.startswith("#"):
                    path = f"{fragment(one.get('id'))}/steps/{name}/run"
                    self.add("EOAP.PROCESS.EXTERNAL_REFERENCE", path,
                             f"The step {name} runs another file, {run}: put it into $graph.", file, line)  # fmt: skip
            for kind in self.types(one):
                target = kind.get("$import")
                if isinstance(target, str) and not is_url(target):
                    self.add("EOAP.SCHEMA.LOCAL_IMPORT", f"{fragment(one.get('id'))}/{target}",
                             f"The type imports {target}, which is another file: write it here.", file,
                             position(kind, "$import")[0])  # fmt: skip

    def types(self, process: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        for name, body, _ in _entries(process.get("requirements"), "class"):
            for kind in body.get("types") or () if name == "SchemaDefRequirement" else ():
                if isinstance(kind, Mapping):
                    yield kind

    def package(self, file: str, entry: Mapping[str, Any]) -> None:
        self.visit(file, entry, {}, 0)
        if not self.tools:
            self.add("EOAP.REQ7.STRUCTURE", "", "The workflow runs no CommandLineTool.", file, None)
        for one in processes(self.document(file)):
            if fragment(one.get("id")) == "main" and one.get("class") in ("Workflow", "CommandLineTool"):
                self.add("SERVICE.PROCESS.ID", "main/id", "The id main says nothing: name the application.", file,
                         position(one, "id")[0])  # fmt: skip

    def visit(self, file: str, process: Mapping[str, Any], inherited: Mapping[str, Any], depth: int) -> None:
        if depth > 64 or len(self.findings) >= MOST:
            return
        effective = _effective(process, inherited)
        if process.get("class") == "CommandLineTool":
            self.tools += 1
            self.tool(file, process, effective)
        elif process.get("class") == "Workflow":
            self.workflow(file, process, root=depth == 0)
        for _, step, _ in _entries(process.get("steps"), "id"):
            where, target = self.run(file, step.get("run"))
            if target is not None:
                self.visit(where, target, _effective(step, effective), depth + 1)

    def run(self, file: str, run: Any) -> tuple[str, Mapping[str, Any] | None]:
        """The document and the process that a step runs."""
        if isinstance(run, Mapping):
            return file, run
        if not isinstance(run, str):
            return file, None
        path, _, name = run.partition("#")
        try:
            key = resolve(file, Reference(Use.RUN, run, None, None)) if path else file
            document = self.document(key)
            return key, _named(document, name or choose(document, key, None))
        except BrokerError:
            return file, None

    def wanted(self, rule: str, file: str, process: Mapping[str, Any], *fields: str) -> None:
        name = fragment(process.get("id"))
        for field in fields:
            if not _filled(process.get(field)):
                self.add(f"{rule}.{field.upper()}", f"{name}/{field}",
                         f"The {process.get('class')} {name} has no {field}.", file, _start(process))  # fmt: skip

    def described(self, rule: str, file: str, process: Mapping[str, Any], side: str, *, error: bool) -> None:
        name = fragment(process.get("id"))
        for one, body, line in _entries(process.get(side), "id"):
            for field in ("label", "doc"):
                if not _filled(body.get(field)):
                    self.add(f"{rule}.{field.upper()}", f"{name}/{side}/{one}",
                             f"{one} among the {side} of {name} has no {field}.", file, line, error=error)  # fmt: skip

    def workflow(self, file: str, process: Mapping[str, Any], *, root: bool) -> None:
        self.wanted("EOAP.REQ9", file, process, "id", "label", "doc")
        self.described("EOAP.REQ10", file, process, "inputs", error=True)
        if root:
            self.described("EOAP.WORKFLOW.OUTPUT", file, process, "outputs", error=True)
        self.described("EOAP.WORKFLOW.STEP", file, process, "steps", error=False)

    def tool(self, file: str, process: Mapping[str, Any], effective: Mapping[str, Any]) -> None:
        name, line = fragment(process.get("id")), _start(process)
        self.wanted("EOAP.REQ8", file, process, "id", "baseCommand")
        for field in ("inputs", "requirements"):
            if field not in process:
                self.add(f"EOAP.REQ8.{field.upper()}.DECLARED", f"{name}/{field}", f"The tool {name} has no {field}.",
                         file, line)  # fmt: skip
        resources = effective.get("ResourceRequirement") or {}
        for field in RESOURCES:
            if resources.get(field) is None:
                self.add(f"SCHEDULING.RESOURCE.{field}", f"{name}/requirements",
                         f"The tool {name} asks for no {field} (ResourceRequirement).", file, line)  # fmt: skip
        docker = effective.get("DockerRequirement", effective.get("hint:DockerRequirement"))
        if not docker or not _filled(docker.get("dockerPull")):
            self.add("EOAP.REQ8.DOCKER", f"{name}/requirements",
                     f"The tool {name} names no image (DockerRequirement, dockerPull).", file, line)  # fmt: skip
        if docker is not None and "DockerRequirement" not in effective:
            self.add("EOAP.CONTAINER.HINT", f"{name}/hints",
                     f"The image of {name} is a hint: as a requirement it would be used everywhere.", file, line,
                     error=False)  # fmt: skip
        self.described("EOAP.CLT.INPUT", file, process, "inputs", error=False)
        self.described("EOAP.CLT.OUTPUT", file, process, "outputs", error=False)


def _start(process: Mapping[str, Any]) -> int | None:
    line = getattr(getattr(process, "lc", None), "line", None)
    return None if line is None else int(line) + 1
