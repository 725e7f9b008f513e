"""The pages of platforms, and for operators the forms that add, check, pause and remove them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import Response

from broker.access.principal import Principal, Scope
from broker.api import platformtrial
from broker.api.budgets import budgets_of
from broker.api.forms import errors
from broker.api.site import site_of
from broker.errors import BrokerError, InputError, InputProblem
from broker.jobs import lifecycle
from broker.jobs.model import Job
from broker.store import platformconfigs, platforms
from broker.web import page


async def listing(
    request: Request,
    caller: Principal,
    found: Sequence[Mapping[str, Any]],
    *,
    typed: Mapping[str, str] | None = None,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    """All platforms; for operators also the form of the kind that was chosen, if any."""
    context: dict[str, Any] = {"kinds": (), "chosen": None}
    if Scope.ADMIN in caller.scopes:
        context = await site_of(request).rows.read(_form, request.query_params, typed)
    return page(
        request,
        "platforms.html",
        status=status,
        title="Platforms",
        platforms=found,
        again=refused is not None,
        errors=errors(refused),
        **context,
    )


def _form(tx: Connection, query: Mapping[str, str], typed: Mapping[str, str] | None) -> dict[str, Any]:
    """What the form shows. A link fills in nothing but the terms of a platform that is here: it must not say where a
    secret goes that is typed here."""
    from broker.api import platformoptions as options  # noqa: PLC0415 - loads adapters: where an operator asks for them

    if typed is None:
        there = {one.name: one for one in platformconfigs.every(tx)}
        replaced = there.get(query.get("replace", ""))
        typed = {"adapter": query.get("kind", "")}
        if replaced is not None:
            terms = options.terms_typed(platforms.one(tx, replaced.name).terms)
            typed = {"adapter": replaced.adapter, "name": replaced.name, **terms}
    kinds = options.offered()
    chosen = next((one for one in kinds if one[0] == typed.get("adapter")), None)
    fields = () if chosen is None else options.options_of(chosen[0])
    return {
        "kinds": kinds,
        "chosen": chosen,
        "fields": fields,
        "terms": options.ABOUT_IT,
        "labels": {one.name: one.label for one in (*fields, *options.ABOUT_IT)}
        | {"name": "Name", options.MORE: "Other settings"},
        # secrets are typed again; so is what the last field holds, for it may hold some
        "typed": {key: value for key, value in typed.items() if key != options.MORE and key not in _secret(fields)},
    }


def _secret(fields: Sequence[Any]) -> set[str]:
    return {one.name for one in fields if one.secret}


def asked(fields: Mapping[str, str]) -> dict[str, Any]:
    """What a program would send in the place of the form, without the name. Raises InputError."""
    from broker.api import platformoptions as options  # noqa: PLC0415 - as above

    kind = fields.get("adapter", "")
    if kind not in [one[0] for one in options.offered()]:
        raise InputError(InputProblem("/adapter", "choose one of the kinds below"))
    return {"adapter": kind, "options": options.given(kind, fields)}


async def shown(
    request: Request,
    caller: Principal,
    document: Mapping[str, Any],
    *,
    refused: BrokerError | None = None,
    status: int = 200,
) -> Response:
    """The page of one: what it offers, its budgets, and for operators its checks and what can be done with it."""
    name = str(document["name"])
    added, budgets, trials = await site_of(request).rows.read(_beside, name, caller)
    return page(
        request,
        "platform.html",
        status=status,
        title=document["title"],
        one=document,
        may_operate=Scope.ADMIN in caller.scopes,
        added=added,
        budgets=budgets,
        trials=[(job, lifecycle.status(job.phase, job.dismiss_requested)) for job in trials],
        errors=errors(refused),
    )


def _beside(tx: Connection, name: str, caller: Principal) -> tuple[bool, list[dict[str, Any]], Sequence[Job]]:
    """(whether it was added while the broker runs, its budgets, the caller's last trials of it)."""
    added = name in {one.name for one in platformconfigs.every(tx)}
    budgets = [one for one in budgets_of(tx, caller) if one["platform"] == name]
    return added, budgets, platformtrial.latest(tx, name, caller) if Scope.ADMIN in caller.scopes else ()
