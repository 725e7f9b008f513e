"""Loads a bundle with cwltool: our own fetcher serves the bundle and nothing else, our own parser reads it.

Importing this module makes schema-salad read YAML with `broker.packages.cwl.parse` (fourteen times faster than its own
reader, within limits, with the same line numbers), for the whole process: loads happen in a forked child of their own.
"""

from __future__ import annotations

import base64
import logging
import os
import urllib.parse
from collections.abc import Iterator
from functools import lru_cache, partial
from importlib.resources import files as resource_files
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import cwltool.workflow
import schema_salad.utils
from cwltool.context import LoadingContext
from cwltool.errors import UnsupportedRequirement, WorkflowException
from cwltool.load_tool import fetch_document, load_tool, make_tool, resolve_and_validate_document
from cwltool.process import Process, get_schema, shortname, use_custom_schema
from cwltool.utils import visit_class
from cwltool.workflow import Workflow, default_make_tool
from ruamel.yaml.comments import CommentedMap
from schema_salad.exceptions import SchemaSaladException, ValidationException
from schema_salad.fetcher import Fetcher
from schema_salad.ref_resolver import file_uri

from broker.errors import BrokerError, PackageError, UnsupportedPackage
from broker.packages import ogcapi, openeo, practice, resolved
from broker.packages.bundle import Bundle
from broker.packages.closure import eoap_schema
from broker.packages.cwl import Inspection, parse
from broker.packages.inputs import default_problems
from broker.packages.keys import is_url, unpacked
from broker.packages.messages import Complaint, explain, placed
from broker.packages.needs import PLATFORM, Part, needs
from broker.runner import copies, streams

copies.install()
VERSIONS = ("v1.0", "v1.1", "v1.2")
RECURSION = 10_000


class _Yaml:
    """Stands in for ruamel.yaml's YAML where schema-salad reads documents."""

    preserve_quotes = True
    Constructor: Any = None

    def __init__(self, typ: str = "rt") -> None:
        self.typ = typ

    def load_all(self, stream: Any) -> Iterator[Any]:
        yield parse(stream.read(), str(getattr(stream, "name", "document")))

    def load(self, stream: Any) -> Any:
        text = stream if isinstance(stream, str) else stream.read()
        return parse(text, str(getattr(stream, "name", "document")))


# its cache holds 128 addresses, a small package has hundreds: a sixth of what a load takes
urllib.parse.urlsplit = lru_cache(maxsize=4096, typed=True)(urllib.parse.urlsplit.__wrapped__)  # type: ignore[attr-defined]
schema_salad.utils.YAML = _Yaml  # type: ignore[assignment, attr-defined]
# CUDARequirement and the like are part of the language here; which of the extensions is `packages.lint`'s to say.
for _version, _name in (("v1.0", "extensions.yml"), ("v1.1", "extensions-v1.1.yml"), ("v1.2", "extensions-v1.2.yml")):
    _text = resource_files("cwltool").joinpath(_name).read_text("utf-8")
    use_custom_schema(_version, "http://commonwl.org/cwltool", _text)


class _Seen:
    """What one load has resolved so far, so that the steps of a `$graph` do not resolve the whole document again."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.tools: dict[str, tuple[str, LoadingContext]] = {}


def _load_tool(reference: Any, context: LoadingContext) -> Process:
    """In place of cwltool's own `load_tool` for the steps of a workflow."""
    seen: _Seen | None = getattr(context, "seen", None)
    if seen is None or not isinstance(reference, str):
        return load_tool(reference, context)
    if reference in seen.tools:
        resolved, known = seen.tools[reference]
        context = context.copy()
        context.loader, context.avsc_names, context.metadata = known.loader, known.avsc_names, known.metadata
        return make_tool(resolved, context)
    context, document, uri = fetch_document(reference, context)
    file = urldefrag(uri)[0]
    context.skip_resolve_all = file in seen.files
    if context.skip_resolve_all and context.loader is not None:
        found = context.loader.idx.get(uri)
        document = found if isinstance(found, CommentedMap) else document  # cwltool walks all that it is given
    context, resolved = resolve_and_validate_document(context, document, uri)
    context.skip_resolve_all = False
    seen.files.add(file)
    seen.tools[reference] = (resolved, context)
    return make_tool(resolved, context)


streams.install()
cwltool.workflow.load_tool = _load_tool  # type: ignore[assignment, attr-defined]


def warm() -> None:
    """Read the CWL schemas, so that forked children find them (some 0.2 s of CPU in all)."""
    for version in VERSIONS:
        get_schema(version)


class _BundleFetcher(Fetcher):
    """Serves the documents of one bundle, at `base` (a file URI ending in /) and at their URLs."""

    def __init__(self, bundle: Bundle, base: str, cache: Any, session: Any) -> None:
        self.bundle = bundle
        self.base = base

    def key(self, url: str) -> str:
        plain = urldefrag(url)[0]
        return unquote(plain.removeprefix(self.base)) if plain.startswith(self.base) else plain

    def fetch_text(self, url: str, content_types: list[str] | None = None) -> str:
        key = self.key(url)
        text = self.bundle.documents.get(key)
        if text is None and key in self.bundle.files:
            text = base64.b64decode(self.bundle.files[key]).decode("utf-8", "replace")
        if text is None:
            text = eoap_schema(key)
        if text is None:
            raise ValidationException(f"The package does not hold {key!r}.")
        return text

    def check_exists(self, url: str) -> bool:
        key = self.key(url)
        if key in self.bundle.documents or key in self.bundle.files or eoap_schema(key) is not None:
            return True
        folder = key.rstrip("/") + "/"
        return any(one.startswith(folder) for one in self.bundle.files)

    def urljoin(self, base_url: str, url: str) -> str:
        if url.startswith("_:"):
            return url
        if urlsplit(url).scheme == "file" and not url.startswith(self.base):
            raise ValidationException(f"{url!r} names a file of one computer.")
        return urljoin(base_url, url)


def _base(root: Path) -> str:
    return str(file_uri(str(root.absolute()))) + "/"


def unpack(bundle: Bundle, root: Path) -> None:
    """Write the bundle's documents and files below `root` (a new directory), those of URLs below `root/_remote`."""
    for key, text in bundle.documents.items():
        _write(root / unpacked(key), text.encode())
    for key, data in bundle.files.items():
        if key.endswith("/"):
            (root / key).mkdir(parents=True, exist_ok=True)
        else:
            _write(root / unpacked(key), base64.b64decode(data))


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise PackageError(f"The package holds {path.name!r} as a file and as a directory.") from error


def load(bundle: Bundle, root: Path, *, loading_context: LoadingContext | None = None) -> Process:
    """The bundle's process as a cwltool object, ready to run below `root` (where `unpack` put its files).

    Takes `construct_tool_object` and the like from `loading_context`. Reads nothing but the bundle.
    Raises PackageError (file, line, column), UnsupportedPackage, LimitError.
    """
    base = _base(root)
    context = loading_context.copy() if loading_context else LoadingContext()
    context.fetcher_constructor = partial(_BundleFetcher, bundle, base)
    context.loader = None
    context.skip_schemas = True
    context.disable_js_validation = True
    context.do_update = True
    context.doc_cache = False
    seen = _Seen()
    context.seen = seen  # type: ignore[attr-defined]
    if loading_context is None:
        context.construct_tool_object = default_make_tool
    try:
        context, document, uri = fetch_document(base + bundle.entry, context)
        seen.files.add(urldefrag(uri)[0])
        context, uri = resolve_and_validate_document(context, document, uri)
        process = make_tool(uri, context)
    except BrokerError as error:
        raise _placed(error, base) from error
    except (SchemaSaladException, WorkflowException) as error:
        raise _explained(error, bundle, base) from error
    except RecursionError:
        raise PackageError("The package is nested too deeply.", file=bundle.document) from None
    except Exception as error:  # cwltool meets hostile text here: whatever it trips over is the package's
        detail = f"cwltool cannot read this package ({type(error).__name__}: {str(error)[:300]})."
        raise PackageError(detail.replace(base, ""), file=bundle.document) from error
    if any(is_url(key) for key in bundle.files):
        _use_unpacked(process, bundle, root)
    return process


def _use_unpacked(process: Process, bundle: Bundle, root: Path) -> None:
    """Let default Files beside a remote document point to where `unpack` put them."""

    def replace(value: Any) -> None:
        if value.get("location") in bundle.files:
            value["location"] = file_uri(str((root / unpacked(value["location"])).absolute()))

    for one in _processes(process):
        for part in (one.tool, one.requirements, one.hints):
            visit_class(part, ("File", "Directory"), replace)


def _processes(process: Process) -> Iterator[Process]:
    yield process
    for step in process.steps if isinstance(process, Workflow) else ():
        yield step
        yield from _processes(step.embedded_tool)


def _placed(error: BrokerError, base: str) -> BrokerError:
    """The same error, its file named as the package names it."""
    if isinstance(error, PackageError) and error.file:
        error.file = _file(error.file, base)
    return error


def _file(name: str, base: str) -> str:
    """The bundle's key of a file that schema-salad names by URI or relative to the working directory."""
    if is_url(name):
        return name
    uri = name if name.startswith("file:") else file_uri(str(Path(unquote(name)).absolute()))
    path = urlsplit(base).path
    found = urlsplit(uri).path
    if not found.startswith(path):
        found = str(file_uri(os.path.normpath(unquote(found)))).removeprefix("file://")
    return unquote(found.removeprefix(path))


def _explained(error: Exception, bundle: Bundle, base: str) -> PackageError:
    salad: BaseException | None = error
    while salad is not None and not isinstance(salad, SchemaSaladException):
        salad = salad.__cause__
    complaints = []
    for leaf in salad.leaves() if isinstance(salad, SchemaSaladException) else ():
        line, column = leaf.start if leaf.start else (None, None)
        file = _file(leaf.file, base) if leaf.file else None
        complaints.append(placed(Complaint(_named(leaf.message, base), file, line, column), bundle.documents))
    if not complaints:
        complaints = [placed(Complaint(_named(str(error), base)), bundle.documents)]
    kind = UnsupportedPackage if isinstance(error, UnsupportedRequirement) else PackageError
    best, hint = explain(complaints)
    return kind(best.message, file=best.file or bundle.document, line=best.line, column=best.column, hint=hint)


def _named(text: str, base: str) -> str:
    """Text in which files are named as the package names them: without `base`, also where cwltool wrote it as a path
    that is relative to the working directory."""
    path = unquote(urlsplit(base).path)
    for prefix in (base, os.path.relpath(path) + "/", path):
        text = text.replace(prefix, "")
    return text.strip()


class _Warnings(logging.Handler):
    """Collects what cwltool and schema-salad warn of while a package is loaded."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        text = " ".join(record.getMessage().split())[:500]
        text = text.removeprefix("Warning: ")
        if text == "failed" or "previously defined" in text or "'$schemas'" in text:
            return  # an input and an output of one name are fine, and $schemas is never read
        if openeo.HINT in text or PLATFORM in text:
            return  # which cwltool does not know, and we do
        if text and text not in self.messages and len(self.messages) < 50:
            self.messages.append(text)


def inspect(bundle: Bundle, root: Path) -> Inspection:
    """Resolve a bundle and say what it is. `root` need not exist. Errors as `load`."""
    if bundle.kind == openeo.KIND:
        return openeo.inspection(bundle.documents, bundle.entry)
    if bundle.kind == ogcapi.KIND:
        return ogcapi.inspection(bundle.documents, bundle.entry)
    collected = _Warnings()
    loggers = [logging.getLogger(name) for name in ("cwltool", "salad")]
    before = [(logger.handlers[:], logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [collected], False
    try:
        process = load(bundle, root)
    finally:
        for logger, (handlers, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagate
    base = _base(root)
    part = _part(process, "")
    schema, _ = process.get_requirement("SchemaDefRequirement")
    document = parse(bundle.documents[bundle.document], bundle.document)
    described = resolved.plain(process.tool, base)
    written = resolved.written(document, bundle.entry.partition("#")[2])
    namespaces = document.get("$namespaces") or {}
    for key, value in document.items() if "$graph" in document else ():
        if ":" in str(key) and key not in described:  # schema.org metadata beside $graph
            described[resolved.expand(str(key), namespaces)] = resolved.plain(value, base)
    custom = {
        resolved.type_name(one["name"]): resolved.types(one)
        for one in resolved.plain((schema or {}).get("types", []), base)
    }
    found = resolved.process(described, written, namespaces)
    collected.messages.extend(default_problems(found["inputs"], custom))
    breaches = practice.findings(bundle)
    if practice.stages(found):
        collected.messages.extend(practice.told(breaches))
    return Inspection(
        process=found,
        custom_types=resolved.used(custom, [one["type"] for field in ("inputs", "outputs") for one in found[field]]),
        needs=needs(part),
        steps=resolved.step_names(part, written) or (found["id"] or "main",),
        warnings=tuple(_named(message, base) for message in collected.messages),
        practice=tuple(one.to_json() for one in breaches),
        cwl_version=str(document.get("cwlVersion", "v1.2")).rpartition("#")[2].removeprefix("cwl:"),
    )


def _part(process: Process, name: str) -> Part:
    """The tree of processes, steps in the order of the document (cwltool shuffles them)."""
    found = {str(step.tool["id"]): step for step in process.steps} if isinstance(process, Workflow) else {}
    parts = []
    for step in process.tool.get("steps", []) if found else []:
        one = found.get(str(step["id"]))
        if one is not None:
            step_name = shortname(one.tool["id"])
            parts.append(_part(one.embedded_tool, f"{name}/{step_name}" if name else step_name))
    kind = str(process.tool.get("class"))
    return Part(name, kind, tuple(process.requirements), tuple(process.hints), tuple(parts))
