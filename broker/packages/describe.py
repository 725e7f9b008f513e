"""Describes an inspected package as a process of OGC API - Processes 1.0."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from broker.errors import PackageError
from broker.packages.cwl import Inspection
from broker.packages.types import media_type, members, prose, schema, string_format

# Extension fields that refine a description: `earthcode:schema` on an input or output is a JSON schema, merged into
# ours, or put in its place where it names a type of its own.
EARTHCODE = "https://earthcode.esa.int/cwl#"
SCHEMA = EARTHCODE + "schema"
SCHEMA_ORG = ("https://schema.org/", "http://schema.org/")
REFINABLE = frozenset({
    "title", "description", "default", "enum", "format", "pattern", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "example",
    "contentMediaType", "contentEncoding", "contentSchema", "type", "oneOf", "anyOf", "allOf", "items", "properties",
    "required", "nullable", "additionalProperties", "deprecated", "x-ogc-unit",
})  # fmt: skip
OF_ARRAYS = frozenset({"minItems", "maxItems", "uniqueItems", "default", "title", "description", "example", "nullable"})


def describe(
    inspection: Inspection,
    *,
    process_id: str | None = None,
    version: str | None = None,
    mutable: bool = True,
    links: Sequence[Mapping[str, Any]] = (),
    overrides: Mapping[str, Any] | None = None,
    job_control: Sequence[str] = ("sync-execute", "async-execute", "dismiss"),
) -> dict[str, Any]:
    """The process description (`process.yaml` of Part 1, v1.0, with `mutable` of Part 2). Raises PackageError (id).

    `process_id` defaults to the package's own id, or its label. `version`: to its `s:softwareVersion`, else 1.0.0.
    `overrides`: what a deployer described (`appackage.Deployment.description_overrides`); it wins over the
    package's own words.
    """
    process = inspection.process
    name = checked_id(process_id) if process_id else own_id(inspection)
    described: dict[str, Any] = {"id": name, "title": prose(process.get("label")) or name}
    text = prose(process.get("doc"))
    if text:
        described["description"] = text
    described["version"] = version or _schema_org(process, "softwareVersion", "version") or "1.0.0"
    keywords = _keywords(process)
    if keywords:
        described["keywords"] = keywords
    metadata = list(_metadata(process))
    if metadata:
        described["metadata"] = metadata
    described["mutable"] = mutable
    described["jobControlOptions"] = list(job_control)
    described["outputTransmission"] = ["value", "reference"]
    described["inputs"] = {one["id"]: describe_input(one, inspection.custom_types) for one in process["inputs"]}
    described["outputs"] = {one["id"]: describe_output(one, inspection.custom_types) for one in process["outputs"]}
    described["links"] = [dict(link) for link in links]
    return _override(described, overrides or {})


def summary(description: Mapping[str, Any]) -> dict[str, Any]:
    """What a list of processes shows of a description (`processSummary.yaml`)."""
    return {key: value for key, value in description.items() if key not in ("inputs", "outputs")}


def checked_id(name: str) -> str:
    """A process id that fits into a path. Raises PackageError."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,99}", name):
        raise PackageError(
            f"{name[:120]!r} cannot be the id of a process.", hint="Use at most 100 letters, digits and . _ : -"
        )
    return name


def own_id(inspection: Inspection) -> str:
    """The id of a process that nobody named: its own in the document, unless that says nothing, or its label."""
    process = inspection.process
    for one in (re.sub(r"\.(cwl|ya?ml|json)$", "", str(process.get("id") or "")), prose(process.get("label"))):
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", one).strip("-.")[:100].rstrip("-.")
        if name and name.lower() not in ("main", "package"):
            return name
    return "package"


def describe_input(parameter: Mapping[str, Any], custom: Mapping[str, Any]) -> dict[str, Any]:
    found = _words(parameter)
    whole = schema(parameter["type"], custom, media=media_type(parameter.get("format")))
    has_default = "default" in parameter
    if parameter.get("default") is not None and not holds_files(parameter["default"]):
        whole["default"] = _default(parameter)
    found["schema"] = refine(whole, refinement(parameter))
    optional = members(parameter["type"])[1]
    found["minOccurs"] = 0 if optional or has_default else 1
    found["maxOccurs"] = 1
    hints = _cwl(parameter, custom)
    if hints:
        found["x-cwl"] = hints
    return found


def describe_output(parameter: Mapping[str, Any], custom: Mapping[str, Any]) -> dict[str, Any]:
    found = _words(parameter)
    media = media_type(parameter.get("format"))
    if parameter.get("stream"):
        whole: dict[str, Any] = {"type": "string", "contentMediaType": media or "text/plain"}
    else:
        whole = schema(parameter["type"], custom, media=media)
    found["schema"] = refine(whole, refinement(parameter))
    hints = _cwl(parameter, custom)
    if hints:
        found["x-cwl"] = hints
    return found


def refinement(parameter: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON schema keywords that the package's author added by `earthcode:schema`."""
    found = parameter.get(SCHEMA)
    return {key: value for key, value in found.items() if key in REFINABLE} if isinstance(found, Mapping) else {}


def refine(whole: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Our schema with the author's keywords: those of single values go to an array's items."""
    if any(key in extra for key in ("type", "oneOf", "anyOf", "allOf")):
        kept: dict[str, Any] = {key: whole[key] for key in ("default", "nullable") if key in whole}
        return kept | dict(extra)
    if whole.get("type") == "array":
        of_items = {key: value for key, value in extra.items() if key not in OF_ARRAYS}
        whole = {**whole, "items": refine(whole["items"], of_items)}
        return {**whole, **{key: value for key, value in extra.items() if key in OF_ARRAYS}}
    return {**whole, **extra}


def _words(parameter: Mapping[str, Any]) -> dict[str, Any]:
    found = {"title": prose(parameter.get("label")) or parameter["id"]}
    text = prose(parameter.get("doc"))
    if text:
        found["description"] = text
    return found


def _default(parameter: Mapping[str, Any]) -> Any:
    value = parameter["default"]
    kinds, _ = members(parameter["type"])
    if len(kinds) == 1 and string_format(kinds[0]) and isinstance(value, Mapping):
        return value.get("value")
    return value


def holds_files(value: Any) -> bool:
    if isinstance(value, Mapping):
        return value.get("class") in ("File", "Directory") or any(holds_files(one) for one in value.values())
    return isinstance(value, list) and any(holds_files(one) for one in value)


def _cwl(parameter: Mapping[str, Any], custom: Mapping[str, Any]) -> dict[str, Any]:
    """What a client that knows CWL may want to know beside the schema."""
    kinds, _ = members(parameter["type"])
    item = kinds[0]["items"] if len(kinds) == 1 and isinstance(kinds[0], dict) and "items" in kinds[0] else None
    names = [one for one in (*kinds, item) if one in ("File", "Directory")]
    found: dict[str, Any] = {"type": names[0]} if names else {}
    patterns = [
        one["pattern"] for one in parameter.get("secondaryFiles") or [] if isinstance(one, Mapping) and "pattern" in one
    ]
    if patterns:
        found["secondaryFiles"] = patterns
    return found


def _schema_org(process: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        for base in SCHEMA_ORG:
            value = process.get(base + name)
            if isinstance(value, str | int | float) and str(value).strip():
                return str(value).strip()
    return None


def _keywords(process: Mapping[str, Any]) -> list[str]:
    for base in SCHEMA_ORG:
        value = process.get(base + "keywords")
        if isinstance(value, str):
            return [word.strip() for word in value.split(",") if word.strip()]
        if isinstance(value, list):
            return [str(word) for word in value if isinstance(word, str | int | float)]
    return []


def _metadata(process: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Authors, licence and the like, as far as they are texts or named things."""
    for base in SCHEMA_ORG:
        for role in ("author", "contributor", "license", "codeRepository", "citation", "logo", "url"):
            value = process.get(base + role)
            for one in value if isinstance(value, list) else [value]:
                found = _metadatum(one, base + role)
                if found:
                    yield found


def _metadatum(value: Any, role: str) -> dict[str, str] | None:
    if isinstance(value, str) and value:
        link = value.startswith(("http://", "https://"))
        return {"title": value, "role": role, **({"href": value} if link else {})}
    if isinstance(value, Mapping):
        plain = {key.rpartition("/")[2].rpartition(":")[2]: one for key, one in value.items()}
        name = plain.get("name") or plain.get("email")
        href = plain.get("identifier") or plain.get("url")
        if isinstance(name, str):
            link = isinstance(href, str) and href.startswith("http")
            return {"title": name, "role": role, **({"href": str(href)} if link else {})}
    return None


def _words_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a deployer says in words (descriptionType.yaml), as far as it has the form that it must have."""
    found: dict[str, Any] = {key: given[key] for key in ("title", "description") if isinstance(given.get(key), str)}
    keywords, metadata, more = (given.get(key) for key in ("keywords", "metadata", "additionalParameters"))
    if isinstance(keywords, list) and all(isinstance(one, str) for one in keywords):
        found["keywords"] = keywords
    if isinstance(metadata, list) and all(isinstance(one, Mapping) for one in metadata):
        found["metadata"] = metadata
    if isinstance(more, list):  # as the test suite of Part 2 writes them
        more = {"parameters": [{**one, "value": _listed(one.get("value"))} for one in more if isinstance(one, Mapping)]}
    if isinstance(more, Mapping):
        found["additionalParameters"] = more
    return {key: value for key, value in found.items() if value}


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _override(described: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    described.update(_words_of(overrides))
    if isinstance(overrides.get("version"), str | int | float) and str(overrides["version"]).strip():
        described["version"] = str(overrides["version"]).strip()
    for side in ("inputs", "outputs"):
        found = overrides.get(side)
        if isinstance(found, list):
            found = {one.get("id"): one for one in found if isinstance(one, Mapping)}
        for name, one in found.items() if isinstance(found, Mapping) else ():
            if name in described[side] and isinstance(one, Mapping):
                words = _words_of(one)
                if isinstance(one.get("schema"), Mapping) and overrides.get("schemas"):
                    words.update({key: one[key] for key in ("schema", "minOccurs", "maxOccurs") if key in one})
                described[side][name].update(words)
    return described
