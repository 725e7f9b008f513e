"""The shape of a CWL package: what some platforms cannot take, whatever their resources; and its types of data.

All of it is read from what was found when the package was inspected: no document of the author's is parsed here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from broker.jobs.model import Needs
from broker.jobs.placement import OUTPUTS, SEVERAL_FILES, UPLOADS
from broker.packages.bundle import Bundle
from broker.packages.openeotool import reads_files
from broker.packages.types import media_type

KIND = "cwl"


def shaped(needs: Needs, bundle: Bundle, process: Mapping[str, Any]) -> Needs:
    """The needs of a package with its shape and types of data. `process`: as inspected; of other kinds than CWL a
    platform that has them knows all that."""
    if needs.kind != KIND:
        return replace(needs, shape=needs.shape | {UPLOADS}) if reads_files(bundle.documents) else needs
    found = set()
    if len(bundle.documents) > 1 or bundle.files:
        found.add(SEVERAL_FILES)
    if [one.get("type") for one in process["outputs"]] != ["Directory"]:
        found.add(OUTPUTS)
    return replace(needs, shape=frozenset(found), data_types=data_types(process))


def data_types(process: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """`input scene` or `output index` -> the media types that its `format` names, of which any will do. Left out where
    it names one that nobody knows."""
    found = {}
    for side in ("inputs", "outputs"):
        for parameter in process[side]:
            given = parameter.get("format")
            formats = given if isinstance(given, list) else [given]
            types = [media_type(one) for one in formats]
            if all(types):
                found[f"{side[:-1]} {parameter['id']}"] = tuple(str(one) for one in types)
    return found
