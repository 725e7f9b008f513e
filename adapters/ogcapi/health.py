"""What a server can do, by the conformance classes that it declares."""

from __future__ import annotations

from collections.abc import Set

from adapters.ogcapi.server import Server
from adapters.ogcapi.settings import OgcApiSettings
from broker.errors import PlatformError
from broker.jobs.model import Capabilities
from broker.packages import ogcapi as package
from broker.packages.lint import EXTENSIONS, REQUIREMENTS
from broker.platform import Health

VERSIONS = ("1.0", "2.0")
CORE = "http://www.opengis.net/spec/ogcapi-processes-1/{}/conf/core"
CALLBACK = frozenset(CORE.format(version).replace("/core", "/callback") for version in VERSIONS)
PART2 = "http://www.opengis.net/spec/ogcapi-processes-2/1.0/conf/"
DEPLOYS = frozenset({PART2 + "deploy-replace-undeploy", PART2 + "cwl"})


def spoken(classes: Set[str]) -> list[str]:
    """The versions of Part 1 that it speaks."""
    return [version for version in VERSIONS if CORE.format(version) in classes]


def health(server: Server, settings: OgcApiSettings) -> Health:
    """Which classes the server declares. (Of one that does not answer the broker knows what it could before.)"""
    try:
        classes = server.classes(again=True)
    except PlatformError as error:
        return Health(False, _capabilities(server, settings, frozenset()), str(error))
    known = spoken(classes)
    offer = _capabilities(server, settings, classes)
    if not known:
        return Health(False, offer, f"{server.url} is no OGC API - Processes server.")
    return Health(
        True, offer, f"OGC API - Processes {', '.join(known)}{', takes CWL' if 'cwl' in offer.kinds else ''}."
    )


def _capabilities(server: Server, settings: OgcApiSettings, classes: Set[str]) -> Capabilities:
    """What it can do; its own processes need the feature that is its address."""
    deploys = classes >= DEPLOYS if settings.deploys is None else settings.deploys
    own = frozenset({package.KIND})
    return Capabilities(
        kinds=own | {"cwl"} if deploys else own,
        features=frozenset({server.url, *(REQUIREMENTS if deploys else ()), *(EXTENSIONS if deploys else ())}),
        cores=settings.cores,
        ram_mib=settings.ram_mib,
        slots=settings.slots,
        container_engine="platform" if deploys else None,
        network=True,
        gpu=settings.gpu,
    )
