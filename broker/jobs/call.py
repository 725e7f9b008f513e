"""What makes two executions the same computation, so that one may have the results of the other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

from broker.jobs.model import Capabilities, Job, StageItem
from broker.jobs.record import by_value
from broker.jobs.secrets import unsigned_link


class NotReusable(Exception):
    """Why nobody can say whether an execution is the same as another one: a sentence."""


def key(job: Job, package: str, images: Mapping[str, str], offer: Capabilities, engine: str) -> str:
    """The sha256 (hex) of all that the results of a job depend on. Raises NotReusable.

    `package`: digest of the closed package; `images`: digests of the images that were pinned at its deployment;
    `offer`: the platform's now; `engine`: the version of what runs it. The platform counts, since programs that are in
    no image are its own, and so do the names of input files, which tools see.
    """
    needs = job.needs
    if needs.kind != "cwl":
        raise NotReusable("It is computed from what is not in its package, and nobody knows what.")
    if needs.elsewhere:
        raise NotReusable("Steps of it run on other platforms: results are looked up for each step.")
    if not needs.reusable:
        raise NotReusable(
            "The package says that its results may not be used again (WorkReuse), or was deployed before anybody asked."
        )
    if needs.network:
        raise NotReusable("The package reads from the network while it runs, and nobody knows what.")
    used = sorted(needs.images) if offer.images else []
    for image in used:
        if image not in images:
            raise NotReusable(f"The image {image} is not pinned to a digest.")
    whole = {
        "package": package,
        "images": {image: images[image] for image in used},
        "platform": [job.platform, offer.container_engine, offer.isolation],
        "engine": engine,
        "order": job.job_order,
        "inputs": _contents(job.stage),
    }
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _contents(stage: Sequence[StageItem]) -> dict[str, str | None]:
    """The sha256 (hex) of each input by its path; None for an empty directory. What a request says of a link is a
    promise, which is kept only where somebody fetches it: it counts with its address, from which the other job had it.
    """
    found: dict[str, str | None] = {}
    for item in stage:
        digest = item.sha256 or by_value(item).get("sha256")
        empty = item.directory and item.url is None and not item.stac
        if item.stac or (digest is None and not empty):  # a STAC document is known, the files that it names are not
            raise NotReusable(f"What is at the address of the input {item.path} is only known once it is fetched.")
        promised = item.url is not None and not item.trusted
        found[item.path] = f"{digest} {unsigned_link(item.url or '')}" if promised else digest
    return found
