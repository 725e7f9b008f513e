"""A conformance class brings its routes and its URIs; the landing page and /conformance only sum the lists."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Depends
from fastapi.routing import APIRoute

from broker.api.authentication import authenticated, bearer

PART1 = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"
PART2 = "http://www.opengis.net/spec/ogcapi-processes-2/1.0/conf/"


@dataclass(frozen=True)
class ConformanceClass:
    """Routes, what they conform to, and the links that they add to the landing page (href, rel, title)."""

    router: APIRouter
    uris: tuple[str, ...] = ()
    links: tuple[tuple[str, str, str], ...] = ()


def _operation(route: APIRoute) -> str:
    return route.name


def guarded(tag: str) -> APIRouter:
    """A router whose every route needs a principal."""
    return APIRouter(
        tags=[tag],
        dependencies=[Depends(authenticated), Depends(bearer)],
        generate_unique_id_function=_operation,
    )


def public(tag: str) -> APIRouter:
    """A router that anybody may call: what a client has to know before it has a token."""
    return APIRouter(tags=[tag], generate_unique_id_function=_operation)
