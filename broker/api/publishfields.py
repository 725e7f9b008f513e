"""The form of a publication, as fields, and the request that a program would send in its place: one made of the other.

Of a list each value has a field of its own (`themes.0`), and so has each part of a contact (`contacts.0.orcid`): pick
lists work without scripts then. What no field is for is JSON in the field `others`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from broker.errors import InputError, InputProblem

Json = dict[str, Any]
TEXTS = (
    "title", "description", "project", "licence", "status", "region", "doi", "collection", "previous",
    "project_description", "project_website", "initiative", "contract_number",
)  # fmt: skip
LISTS = ("themes", "variables", "missions")
OF_CONTACTS = ("name", "organization", "email", "orcid", "roles")
EMPTY = 2  # fields for further values of a list


def request_of(fields: Mapping[str, str]) -> Json:
    """The members that were filled in. Raises InputError for `others` that are no JSON object."""
    given = {name: text for name in TEXTS if (text := fields.get(name, "").strip())}
    made: Json = {**_others(fields.get("others", "")), **given}
    for name in LISTS:
        if values := [text.strip() for text in _numbered(fields, name) if text.strip()]:
            made[name] = list(dict.fromkeys(values))
    if keywords := _parts(fields.get("keywords", "")):
        made["keywords"] = keywords
    if contacts := _contacts(fields):
        made["contacts"] = contacts
    if box := _parts(fields.get("bbox", "")):
        made["bbox"] = [_number(text) for text in box]
    if any(fields.get(name, "").strip() for name in ("start", "end")):
        made["interval"] = [fields.get(name, "").strip() or None for name in ("start", "end")]
    return made


def fields_of(request: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a request, filled in."""
    rest = dict(request)
    made = {name: str(rest.pop(name, "")) for name in TEXTS}
    for name in LISTS:
        values = [str(one) for one in _list(rest.pop(name, ()))]
        made |= {f"{name}.{n}": text for n, text in enumerate([*values, *[""] * EMPTY])}
    people = [one for one in _list(rest.pop("contacts", ())) if isinstance(one, Mapping)]
    for number, person in enumerate([*people, {}]):
        roles = ", ".join(map(str, _list(person.get("roles", ()))))
        made |= {f"contacts.{number}.{name}": str(person.get(name, "")) for name in OF_CONTACTS}
        made[f"contacts.{number}.roles"] = roles
    made["keywords"] = ", ".join(map(str, _list(rest.pop("keywords", ()))))
    made["bbox"] = ", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in _list(rest.pop("bbox", ())))
    start, end = [*_list(rest.pop("interval", ())), None, None][:2]
    made |= {"start": str(start or ""), "end": str(end or "")}
    return made | {"others": json.dumps(rest, indent=2, ensure_ascii=False) if rest else ""}


def field_of(member: str, fields: Mapping[str, str]) -> str:
    """The field beside which a finding is shown (`contacts/0/orcid`, `themes`); "" where there is none: of a file."""
    if "." in member:
        return ""
    name = member.strip("/").replace("/", ".")
    first = name.partition(".")[0]
    for one in (name, f"{name}.0", f"{first}.0", f"{first}.0.name", first):
        if one in fields:
            return one
    return {"interval": "start", "geometry": "bbox"}.get(first, "others" if first else "")


def names_of(fields: Mapping[str, str], name: str) -> list[str]:
    """The fields of one list, in order: of boxes that nobody has ticked there are none."""
    found = [one.removeprefix(f"{name}.") for one in fields if one.startswith(f"{name}.")]
    return [f"{name}.{number}" for number in sorted(int(one) for one in found if one.isdecimal() and len(one) < 6)]


def contacts_of(fields: Mapping[str, str]) -> range:
    """The numbers of the contacts."""
    return range(next(number for number in count() if f"contacts.{number}.name" not in fields))


def _numbered(fields: Mapping[str, str], name: str) -> list[str]:
    return [fields[one] for one in names_of(fields, name)]


def _contacts(fields: Mapping[str, str]) -> list[Json]:
    found = []
    for number in contacts_of(fields):
        person: Json = {
            name: text for name in OF_CONTACTS if (text := fields.get(f"contacts.{number}.{name}", "").strip())
        }
        if roles := _parts(person.pop("roles", "")):
            person["roles"] = roles
        if set(person) - {"roles"}:
            found.append(person)
    return found


def _others(text: str) -> Json:
    try:
        found = json.loads(text) if text.strip() else {}
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError(InputProblem("/others", 'is not a JSON object, such as {"parameters": [{"name": "ndwi"}]}'))
    return found


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _number(text: str) -> float | str:
    """What is no number is said by who reads the request."""
    try:
        return float(text)
    except ValueError:
        return text


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()
