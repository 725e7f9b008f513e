"""The fields of the form that adds a platform: those that the settings of its kind name, and its terms."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from adapters import kinds, platform_class
from broker.errors import InputError, InputProblem
from broker.execution.fleet import TERMS
from broker.jobs.terms import Terms

OWN_MACHINE = "local"  # such platforms belong to the machines that have them in their broker.toml
MORE = "more"  # the field of what has none of its own
KINDS: Mapping[str, tuple[str, str]] = {
    "openeo": ("An openEO back-end", "Runs openEO processes, and CWL packages where it has a process that does."),
    "ogcapi": (
        "Another OGC API - Processes server",
        "Its processes are registered here by address; packages go there where it takes them: pygeoapi, ZOO-Project, "
        "Weaver, another broker.",
    ),
}


@dataclass(frozen=True, slots=True)
class Option:
    """One field. `choices`: the only values there are; `many`: one a line."""

    name: str
    label: str
    about: str = ""
    required: bool = False
    secret: bool = False
    choices: tuple[str, ...] = ()
    many: bool = False


_TERMS = (
    Option("title", "Title", "What people read."),
    Option(
        "near", "Data that lie beside it", "Such as s3://eodata or https://data.example.org, one a line.", many=True
    ),
    Option("projects", "Only for these projects", "Their ids, one a line; empty: for everybody.", many=True),
    Option("data_types", "Data types", "Such as image/tiff, one a line; besides those it names itself.", many=True),
    Option("slots", "Jobs at a time"),
    Option("requests", "Requests a second", "Of the whole broker; empty: as many as come."),
    Option("core_hour", "Price of a core-hour"),
    Option("gib_hour", "Price of a GiB-hour of memory"),
    Option("job", "Price of a job"),
    Option("currency", "Currency", "Such as EUR; empty: credits."),
)
ABOUT_IT = tuple(Option(f"{TERMS}.{one.name}", one.label, one.about, many=one.many) for one in _TERMS)


def offered() -> list[tuple[str, str, str]]:
    """(kind, words, what it is) of all that can be added."""
    return [(one, *KINDS.get(one, (one, ""))) for one in kinds() if one != OWN_MACHINE]


@cache
def options_of(kind: str) -> tuple[Option, ...]:
    """What the settings of a kind name: those with a title, or all where none has one. Raises NoSuchPlatform,
    SetupError."""
    found = getattr(platform_class(kind).Settings, "model_fields", {})
    titled = {name: one for name, one in found.items() if one.title}
    return tuple(_option(name, one) for name, one in (titled or found).items() if titled or _is_text(one))


def _option(name: str, field: FieldInfo) -> Option:
    parts = list(_parts(field.annotation))
    # empty is as by default: only what cannot be left out has no such choice
    choices = tuple(str(value) for one in parts if get_origin(one) is Literal for value in get_args(one))
    return Option(
        name,
        field.title or name,
        field.description or "",
        required=field.is_required(),
        secret=SecretStr in parts,
        choices=("yes", "no") if bool in parts else choices,
        many=any(get_origin(one) in (tuple, list) for one in parts),
    )


def _parts(annotation: Any) -> Iterator[Any]:
    """A type and those that it is made of."""
    yield annotation
    if get_origin(annotation) is not Literal:
        for one in get_args(annotation):
            yield from _parts(one)


def _is_text(field: FieldInfo) -> bool:
    return any(one in (str, int, float, bool, SecretStr) for one in _parts(field.annotation)) and not any(
        get_origin(one) is dict for one in _parts(field.annotation)
    )


def given(kind: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """The options that a filled form stands for; what was left empty is left out. Raises InputError."""
    found = _more(fields.get(MORE, ""))
    found |= _values(options_of(kind), fields)
    terms = {name.removeprefix(f"{TERMS}."): value for name, value in _values(ABOUT_IT, fields).items()}
    return found | ({TERMS: terms} if terms else {})


def _values(options: Sequence[Option], fields: Mapping[str, str]) -> dict[str, Any]:
    texts = {one.name: fields.get(one.name, "") for one in options}
    return {
        one.name: texts[one.name].split() if one.many else texts[one.name].strip()
        for one in options
        if texts[one.name].strip()
    }


def _more(text: str) -> dict[str, Any]:
    if not text.strip():
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InputError(InputProblem(f"/{MORE}", 'this is no JSON object, such as {"slots": 2}'))
    return value


def terms_typed(terms: Terms) -> dict[str, str]:
    """What the form shows of a platform's terms."""
    return {
        f"{TERMS}.{name}": "\n".join(value) if isinstance(value, list) else str(value)
        for name, value in terms.to_json().items()
    }
