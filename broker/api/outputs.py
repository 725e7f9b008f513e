"""CWL output objects as OGC results (results.yaml) and with absolute locations: pure, no bytes are read here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from broker.api.answers import JSON
from broker.jobs.model import Job
from broker.store.files import KeptFile

GEOJSON_TYPES = frozenset({
    "Feature", "FeatureCollection", "Point", "LineString", "Polygon",
    "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection",
})  # fmt: skip
CATALOG = "catalog.json"


@dataclass(frozen=True)
class Outputs:
    """The output object of a job, its kept files by path, and the address below which they are."""

    values: Mapping[str, Any]
    files: Mapping[str, KeptFile]
    here: str  # <base>/jobs/<id>

    def href(self, path: str) -> str:
        return f"{self.here}/files/{quote(path)}"

    def path_of(self, value: Mapping[str, Any]) -> str:
        """Where a File or Directory is among the kept files."""
        return str(value.get("location") or value.get("path") or "").strip("/")

    def kept(self, value: Any) -> KeptFile | None:
        """The kept file of a CWL File, None for anything else."""
        return self.files.get(self.path_of(value)) if is_a(value, "File") else None

    def cwl(self) -> dict[str, Any]:
        """The CWL output object with absolute locations, and complete listings of Directories."""
        return {name: self._located(value) for name, value in self.values.items()}

    def _located(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._located(one) for one in value]
        if not isinstance(value, Mapping):
            return value
        full = {key: self._located(one) for key, one in value.items()}
        if is_a(value, "File"):
            return self._file(value, full)
        if is_a(value, "Directory"):
            path = self.path_of(value)
            full.pop("path", None)
            if "listing" not in full:
                full["listing"] = self.listing(path)
            if path:
                full["location"] = self.href(path) + "/"
        return full

    def _file(self, value: Mapping[str, Any], full: dict[str, Any]) -> dict[str, Any]:
        path = self.path_of(value)
        full.pop("path", None)
        if path:
            full["location"] = self.href(path)
            full.setdefault("basename", path.rpartition("/")[2])
            row = self.files.get(path)
            if row is not None and row.size is not None:
                full.setdefault("size", row.size)
        return full

    def listing(self, path: str) -> list[dict[str, Any]]:
        """What is kept below a directory, as CWL Files and Directories."""
        below = f"{path}/" if path else ""
        found: dict[str, dict[str, Any]] = {}
        for file in self.files.values():
            if not file.path.startswith(below):
                continue
            name, deeper, _ = file.path[len(below) :].partition("/")
            whole = below + name
            if deeper:
                if name not in found:
                    found[name] = {
                        "class": "Directory",
                        "basename": name,
                        "location": self.href(whole) + "/",
                        "listing": self.listing(whole),
                    }
            else:
                found[name] = {
                    "class": "File",
                    "basename": name,
                    "location": self.href(whole),
                    "size": file.size,
                }
        return list(found.values())

    def document(self, value: Any) -> Any:
        """One value as results.yaml has it: literals as they are, objects wrapped, Files and Directories as links."""
        plain = self._item(value)
        if not isinstance(value, Mapping) or is_a(value, "File") or is_a(value, "Directory"):
            return plain
        return dict(value) if is_bbox(value) else {"value": plain, "mediaType": object_type(value)}

    def _item(self, value: Any) -> Any:
        """A value inside another one: nothing is wrapped there."""
        if isinstance(value, list):
            return [self._item(one) for one in value]
        if not isinstance(value, Mapping):
            return value
        if is_a(value, "File"):
            return self.file_link(value)
        if is_a(value, "Directory"):
            return self.directory_link(value)
        return {key: self._item(one) for key, one in value.items()}

    def file_link(self, value: Mapping[str, Any]) -> dict[str, str]:
        path = self.path_of(value)
        row = self.files.get(path)
        full = {
            "href": self.href(path),
            "type": (row.media_type if row else None) or "application/octet-stream",
            "title": str(value.get("basename") or path.rpartition("/")[2]),
        }
        return {key: text for key, text in full.items() if text}

    def directory_link(self, value: Mapping[str, Any]) -> dict[str, str]:
        """The STAC catalog of a directory that has one, else its listing."""
        path = self.path_of(value)
        title = str(value.get("basename") or path.rpartition("/")[2] or "files")
        catalog = f"{path}/{CATALOG}" if path else CATALOG
        if catalog in self.files:
            return {"href": self.href(catalog), "type": JSON, "rel": "item", "title": title}
        return {"href": self.href(path) + "/" if path else f"{self.here}/files", "type": JSON, "title": title}


def is_a(value: Any, kind: str) -> bool:
    return isinstance(value, Mapping) and value.get("class") == kind


def is_bbox(value: Mapping[str, Any]) -> bool:
    return isinstance(value.get("bbox"), list) and set(value) <= {"bbox", "crs"}


def object_type(value: Mapping[str, Any]) -> str:
    geojson = value.get("type") in GEOJSON_TYPES and ("coordinates" in value or set(value) > {"type"})
    return "application/geo+json" if geojson else JSON


def chosen(outputs: Mapping[str, Any], wanted: Mapping[str, Any] | Sequence[str] | None) -> dict[str, Any]:
    """The outputs that the request asked for (None: all), in its order, without those that are null."""
    names = list(outputs) if not wanted else [name for name in wanted if name in outputs]
    return {name: outputs[name] for name in names if outputs[name] is not None}


def located(job: Job, kept: Iterable[KeptFile], base: str) -> Outputs:
    return Outputs(job.outputs or {}, {file.path: file for file in kept}, f"{base}/jobs/{job.id}")
