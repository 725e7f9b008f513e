"""The record of a run as it is published: whole, and without what is only this broker's business."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.jobs.model import Job
from broker.jobs.record import known, unsigned_value

HERE = ("upload:", "stored:", "credential:", "file:")  # locations that mean something on this machine only


def published(record: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """The record with the inputs that were too large for it, from the job's row. Of the person it says name and ORCID
    iD; hosts, reasons of the placement, and where uploads lie, are left out."""
    who = record["agent"]
    person = known({name: who.get(name) for name in ("name", "orcid")})
    platform = {key: value for key, value in record["platform"].items() if key not in ("node", "reasons")}
    return {
        **record,
        "agent": {"person": who.get("orcid") or "the person who ran it", **person},
        "platform": known({**platform, "name": str(platform.get("name") or "").partition("@")[0]}),
        "inputs": {name: _input(value, job.job_order.get(name)) for name, value in record["inputs"].items()},
        "jobOrder": _whole(record["jobOrder"], dict(job.job_order)),
        "steps": [{key: value for key, value in step.items() if key != "node"} for step in record["steps"]],
    }


def _input(value: Any, asked: Any) -> Any:
    if isinstance(value, Mapping):
        return {**value, "value": _whole(value.get("value"), asked)}
    return [_entry(one) for one in value]


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    location = str(entry.get("location") or "")
    found = {key: value for key, value in entry.items() if key != "location" or not location.startswith(HERE)}
    return found | ({"files": [_entry(one) for one in entry["files"]]} if "files" in entry else {})


def _whole(kept: Any, asked: Any) -> Any:
    """What was kept, or what was asked where only its digest was kept."""
    digest = isinstance(kept, Mapping) and set(kept) == {"sha256", "size"} and asked != kept
    return unsigned_value(asked) if digest else kept
