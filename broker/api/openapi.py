"""The API as an OpenAPI 3.0 document: what FastAPI finds in the routes, with bodies and answers that it cannot see."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

MEDIA_TYPE = "application/vnd.oai.openapi+json;version=3.0"


def definition(app: FastAPI, base: str) -> dict[str, Any]:
    """The document, made once; only its server differs with the address that a client used."""
    if app.openapi_schema is None:
        app.openapi_schema = _made(app)
    return {**app.openapi_schema, "servers": [{"url": base}]}


def _made(app: FastAPI) -> dict[str, Any]:
    full = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, openapi_version="3.0.3"
    )
    return full
