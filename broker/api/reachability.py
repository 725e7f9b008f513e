"""Whether a checked request would get what it needs: its links (one HEAD each, through egress), platform, images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from broker.egress import Egress
from broker.errors import EgressRefused, StagingError
from broker.jobs.model import StageItem
from broker.jobs.placement import Candidate

MOST_LINKS = 20


def report(egress: Egress, stage: Sequence[StageItem]) -> list[dict[str, Any]]:
    """One entry for each of the first links: {url, reachable, size?, type?, detail?}."""
    found: list[dict[str, Any]] = []
    for url in dict.fromkeys(item.url for item in stage if item.url is not None and not item.trusted):
        if url.startswith(("http://", "https://")) and len(found) < MOST_LINKS:
            found.append(_looked(egress, url))
    return found


def warnings(platform: Candidate, images: Mapping[str, bool]) -> list[str]:
    """What may keep the job waiting or have it fail, as far as it is known here, one or two sentences each.

    `images`: those of the package, and whether each is required.
    """
    found: list[str] = []
    if not platform.available:
        why = f": {platform.message}" if platform.message else "."
        found.append(f"The platform {platform.name} is not available; a job would wait for it{why}")
    elif platform.paused:
        found.append(f"The platform {platform.name} is paused; a job would wait until it goes on.")
    for image, required in images.items():
        if platform.capabilities.container_engine is not None:
            found.append(f"The image {image} is fetched when the job runs, unless the platform has it already.")
        elif not required:
            found.append(
                f"The image {image} is only a hint, and the platform {platform.name} has no container engine: "
                "the step would run without it."
            )
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
