"""Links in STAC documents: what they are relative to, and which of the server's own files they may reach."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from broker.egress import shown
from broker.errors import StagingError
from broker.runner.fetch import local_path


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document was read. `below`: for the broker's own files, the directory that its links may not leave."""

    url: str | None
    below: Path | None = None


def resolve(href: str, place: Place) -> Place:
    """The absolute address of a link found in a document that is at `place`.

    Raises StagingError for links to the server's files and for links that lead nowhere.
    """
    try:
        return _resolved(href, place)
    except ValueError as problem:
        raise StagingError(f"The link {href!r} in {display_name(place)} is not an address.") from problem


def _resolved(href: str, place: Place) -> Place:
    parts = urlsplit(href)
    if parts.scheme == "file":
        raise StagingError(f"The STAC document {display_name(place)} links to a file of the server.")
    if parts.scheme:
        return Place(href)
    if place.url is None:
        raise StagingError(
            f"The link {href!r} is relative, and the STAC document does not say to what.",
            hint="Give absolute links, or a `self` link.",
        )
    if place.below is not None:
        path = local_path(place.url).parent.joinpath(local_path(parts.path)).resolve()
        if parts.netloc or not path.is_relative_to(place.below.resolve()):
            raise StagingError(f"The link {href!r} in {display_name(place)} leads out of its directory.")
        return Place(path.as_uri(), place.below)
    if place.url.lower().startswith("s3:"):  # which urljoin does not know; its paths join like those of https
        return Place("s3" + urljoin("https" + place.url[2:], href).removeprefix("https"))
    joined = urljoin(place.url, href)
    urlsplit(joined)
    return Place(joined)


def embedded(document: Mapping[str, Any], place: Place) -> Place:
    """Where a document's relative links count from when it came by value or inside another: its `self` link."""
    for link in dicts(document.get("links")):
        href = link.get("href")
        if link.get("rel") == "self" and isinstance(href, str) and re.match("(https?|s3)://", href):
            return resolve(href, place)
    return place


def absolute(linked: dict[str, Any], place: Place) -> dict[str, Any]:
    href = linked.get("href")
    if not isinstance(href, str) or place.url is None or place.below is not None:
        return linked  # a directory of the server is not to be told to the job
    return linked | {"href": resolve(href, place).url}


def dicts(values: Any) -> Iterator[dict[str, Any]]:
    return (value for value in values if isinstance(value, dict)) if isinstance(values, list) else iter(())


def display_name(place: Place) -> str:
    if place.below is not None:
        return local_path(place.url or "").name
    return shown(place.url) if place.url else "the STAC document"
