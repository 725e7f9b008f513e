"""Turns schema-salad's complaints into one sentence and a cure."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches


@dataclass(frozen=True, slots=True)
class Complaint:
    """One message of the validator and where it was raised; lines and columns count from 1."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None


_INVALID_FIELD = re.compile(r"invalid field [`']([^`']+)[`'], expected one of: (.*)", re.DOTALL)
_MISSING_FIELD = re.compile(r"missing required field [`']([^`']+)[`']")
_UNDEFINED = re.compile(r"Field '([^']+)' contains undefined reference to '([^']+)'")
_UNKNOWN_ID = re.compile(r"Field '([^']+)' references unknown identifier '([^']+)', tried (.*)", re.DOTALL)
_TYPES = "string, int, long, float, double, boolean, File, Directory, Any"
_RANK = (_UNKNOWN_ID, _UNDEFINED, _INVALID_FIELD, _MISSING_FIELD)


def explain(complaints: Sequence[Complaint]) -> tuple[Complaint, str | None]:
    """The complaint that says most, reworded, and what to write instead where that is known."""
    best = min(complaints, key=_rank)
    message, hint = best.message, None
    if found := _INVALID_FIELD.search(message):
        field, known = found[1], re.findall(r"'([^']+)'", found[2])
        short = field.rpartition("#")[2]
        near = get_close_matches(short, known, 1)
        message = f"The field {short!r} does not belong here."
        hint = (
            f"Did you mean {near[0]!r}?" if near else f"Fields that do: {', '.join(sorted(known))}." if known else None
        )
    elif found := _MISSING_FIELD.search(message):
        message, hint = f"The field {found[1]!r} is missing.", f"Write {found[1]}."
    elif found := _UNDEFINED.search(message):
        field, target = found[1], found[2]
        message = f"{field} names {target.rpartition('#')[2] or target!r}, which is not there."
        hint = f"Write {_TYPES}, or a type of SchemaDefRequirement." if field in ("type", "items") else None
    elif found := _UNKNOWN_ID.search(message):
        message = f"{found[1]} names {found[2].rpartition('#')[2]!r}, which is not there."
        hint = "Name an input of the workflow, or an output of a step as step/output."
        if found[1] in ("type", "items"):
            hint = f"Write {_TYPES}, or a type of SchemaDefRequirement."
    message = " ".join(message.split())[:1000]
    if message and message[-1] not in ".!?":
        message += "."
    return Complaint(message, best.file, best.line, best.column), hint


_LEAD = re.compile(r"^(\S[^:\n]*):(\d+):(\d+):\s*", re.MULTILINE)


def placed(complaint: Complaint, documents: Container[str]) -> Complaint:
    """The complaint at the place that its own text starts with (`package.cwl:3:5: …`), where it does."""
    text = complaint.message

    def without(lead: re.Match[str]) -> str:
        if lead[1] not in documents:
            return lead[0]
        return "" if lead.start() == 0 or text[lead.end() : lead.end() + 1].islower() else "; "

    found = _LEAD.match(text)
    message = re.sub(r"\s*\n; ", "; ", _LEAD.sub(without, text))
    if found is None or found[1] not in documents:
        return replace(complaint, message=message)
    return Complaint(message, found[1], int(found[2]), int(found[3]))


def _rank(complaint: Complaint) -> tuple[int, int, int]:
    """Lower says more: known shapes of message first, then those that know their line, later lines first."""
    shape = next((rank for rank, pattern in enumerate(_RANK) if pattern.search(complaint.message)), len(_RANK))
    return (shape, 0 if complaint.line is not None else 1, -(complaint.column or 0))
