"""Whether the links of a checked request can be reached from here: one HEAD each, through egress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.egress import Egress
from broker.errors import EgressRefused, StagingError
from broker.jobs.model import StageItem

MOST_LINKS = 20


def report(egress: Egress, stage: Sequence[StageItem]) -> list[dict[str, Any]]:
    """One entry for each of the first links: {url, reachable, size?, type?, detail?}."""
    found: list[dict[str, Any]] = []
    for url in dict.fromkeys(item.url for item in stage if item.url is not None and not item.trusted):
        if url.startswith(("http://", "https://")) and len(found) < MOST_LINKS:
            found.append(_looked(egress, url))
    return found


def _looked(egress: Egress, url: str) -> dict[str, Any]:
    try:
        answer = egress.head(url)
    except (EgressRefused, StagingError) as error:
        if getattr(error, "status", None) in (405, 501):  # it does not answer HEAD; that says nothing
            return {"url": url, "reachable": True}
        return {"url": url, "reachable": False, "detail": str(error)}
    seen = {"url": url, "reachable": True, "size": answer.size, "type": answer.media_type}
    return {key: value for key, value in seen.items() if value is not None}
