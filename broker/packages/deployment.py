"""A deploy request, read: what a child of the zygote answers, and what the rest of the broker works with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.errors import BrokerError, PackageError
from broker.packages import bundle
from broker.packages.bundle import Bundle
from broker.packages.cwl import Inspection

MAX_DEPTH = 160  # levels of an answer: a document's 64, types written out, and what is around them
KINDS = frozenset({*bundle.KINDS, "docker"})


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deploy request, read. `body` and `media_type` are what `GET /processes/{id}/package` gives back.

    `process_id`: the id that the request asks for, None where it names none. `description_overrides`: see
    `describe.describe`. `kind`: the bundle's, or "docker" where the tool was made of a container image. `source`: see
    `packages.source`.
    """

    bundle: Bundle
    body: bytes
    media_type: str
    process_id: str | None = None
    description_overrides: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "cwl"
    source: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Without `body`, which whoever asked has."""
        return {
            "bundle": self.bundle.to_json(),
            "mediaType": self.media_type,
            "processId": self.process_id,
            "overrides": dict(self.description_overrides),
            "kind": self.kind,
            "source": dict(self.source),
        }


def answered(value: Any, body: bytes) -> tuple[Deployment, Inspection]:
    """The deployment and inspection that a child found. It had a stranger's document in its memory, so that nothing
    is taken for granted: sizes, keys and digest of the bundle, depth, kinds of values. Raises PackageError."""
    try:
        _shallow(value)
        deployment = _deployment(value["deployment"], body)
        inspection = Inspection.from_json(value["inspection"])
        _plausible(inspection)
    except BrokerError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PackageError("Reading the package gave an answer that makes no sense.") from error
    return deployment, inspection


def _deployment(value: Mapping[str, Any], body: bytes) -> Deployment:
    name, media, kind = value["processId"], value["mediaType"], value["kind"]
    overrides = value["overrides"]
    if not (name is None or isinstance(name, str)) or not isinstance(media, str) or len(media) > 200:
        raise TypeError
    if kind not in KINDS or not isinstance(overrides, dict):
        raise TypeError
    return Deployment(Bundle.from_json(value["bundle"]), body, media, name, overrides, kind, _source(value["source"]))


def _source(value: Any) -> dict[str, Any]:
    """See `packages.source`: texts, and authors that are objects of texts."""
    texts = dict(value)
    authors = texts.pop("authors", [])
    known = {"repository", "commit", "committed", "path", "href", "license"}
    if not {*texts} <= known or not isinstance(authors, list):
        raise TypeError
    for one in (texts, *authors):
        if not all(isinstance(text, str) for text in one.values()):
            raise TypeError
    if not all({*one} <= {"name", "identifier"} for one in authors):
        raise TypeError
    return dict(value)


def _plausible(found: Inspection) -> None:
    if not isinstance(found.process, dict) or not isinstance(found.custom_types, dict):
        raise TypeError
    for name in ("inputs", "outputs"):
        for one in found.process[name]:
            if not isinstance(one["id"], str) or "type" not in one:
                raise TypeError
    for one in found.practice:
        if not isinstance(one["message"], str) or not isinstance(one["rule"], str) or len(one) > 6:
            raise TypeError
    if not all(isinstance(one, str) for one in (*found.steps, *found.warnings, found.cwl_version)):
        raise TypeError


def _shallow(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            one
            for outer in level
            for one in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(one, dict | list)
        ]
        if not level:
            return
    raise PackageError("The package is nested too deeply.")
