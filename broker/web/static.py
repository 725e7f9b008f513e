"""Static files: read once; an address that names its content is kept by browsers for good."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "static"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
}
FOR_GOOD = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of ours; `version` is of its content."""

    content: bytes
    media_type: str
    version: str


@cache
def assets() -> dict[str, Asset]:
    """All files by their path below the folder."""
    found = {}
    for file in sorted(FOLDER.rglob("*")):
        if file.suffix in TYPES:
            content = file.read_bytes()
            name = file.relative_to(FOLDER).as_posix()
            found[name] = Asset(content, TYPES[file.suffix], hashlib.sha256(content).hexdigest()[:16])
    return found


def address(name: str) -> str:
    """The path of a file, with the version of its content."""
    return f"/static/{name}?v={assets()[name].version}"


async def static(request: Request) -> Response:
    """GET /static/{name:path}: for good when the address names this content, else to be asked for again (ETag)."""
    asset = assets().get(request.path_params["name"])
    if asset is None:
        return Response("There is no such file.\n", 404, media_type="text/plain")
    etag = f'"{asset.version}"'
    named = request.query_params.get("v") == asset.version
    headers = {
        "ETag": etag,
        "Cache-Control": FOR_GOOD if named else "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'",
    }
    if etag in [one.strip().removeprefix("W/") for one in request.headers.get("if-none-match", "").split(",")]:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)
