"""The entities of an RO-Crate's metadata, as they are put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from broker.packages import openeo
from broker.packages.keys import unpacked

PACKAGE = "package"  # directory of the crate where the package lies
# kind of package -> the language it is written in: its id in crates, names, identifier and page; its media type
LANGUAGES: Mapping[str, tuple[str, str, str, str, str, str]] = {
    "cwl": (
        "https://w3id.org/workflowhub/workflow-ro-crate#cwl",
        "Common Workflow Language",
        "CWL",
        "https://w3id.org/cwl/",
        "https://www.commonwl.org/",
        "application/cwl",
    ),
    openeo.KIND: (
        "https://openeo.org",
        "openEO process graph",
        "openEO",
        "https://openeo.org/",
        "https://api.openeo.org/",
        openeo.MEDIA_TYPE,
    ),
}
WFRUN = "https://w3id.org/ro/terms/workflow-run#"
_STATUS = {"successful": "CompletedActionStatus", "replayed": "CompletedActionStatus"}
Entity = dict[str, Any]


class Graph(dict[str, Entity]):
    """Entities by id, in the order in which they came."""

    def add(self, entity: str, kind: str | list[str], /, **values: Any) -> str:
        """An entity; what is None, empty or no list of anything is left out."""
        full = {key: value for key, value in values.items() if value not in (None, "", [])}
        self[entity] = {"@id": entity, "@type": kind, **full}
        return entity

    def listed(self) -> list[Entity]:
        """The entities with lists of one as that one, as RO-Crate wants it; but what a crate has stays a list."""
        return [
            {
                key: value[0] if isinstance(value, list) and len(value) == 1 and key != "hasPart" else value
                for key, value in entity.items()
            }
            for entity in self.values()
        ]


def package_path(key: str) -> str:
    """Where a document or file of a package lies in the crate."""
    return f"{PACKAGE}/{unpacked(key)}"


def ref(name: str) -> dict[str, str]:
    return {"@id": name}


def refs(names: Iterable[str]) -> list[dict[str, str]]:
    return [ref(name) for name in dict.fromkeys(names)]


def status(status: str) -> str:
    return "http://schema.org/" + _STATUS.get(status, "FailedActionStatus")


def time(moment: str | None) -> str | None:
    """As the profiles want it: with a numeric offset."""
    return moment.replace("Z", "+00:00") if moment else None
