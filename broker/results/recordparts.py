"""Parts that the records of the Open Science Catalog are put together from: names, links, contacts, formats."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

from broker.jobs.record import known
from broker.results.osc import PREFIXES, entry_path
from broker.results.strictrules import moment_of, orcid

SCIENTIFIC = "https://stac-extensions.github.io/scientific/v1.0.0/schema.json"
APPLICATION = "https://stac-extensions.github.io/application/v0.1.0/schema.json"
DIGEST = "broker:digest"  # of the closed package that a workflow record is about
JSON = "application/json"
PACKAGES = {  # kind of package -> rel, media type, name of its file beside the record
    "cwl": ("application", "application/cwl+yaml", "package.cwl"),
    "openeo": ("process_graph", JSON, "process_graph.yaml"),  # .json there would be taken for a record
}
VIA = {JSON, "application/pdf", "application/zip", "text/html", "text/plain"}
_FORMATS = {
    "image/tiff": "GeoTIFF",
    "image/tiff; application=geotiff": "GeoTIFF",
    "image/tiff; application=geotiff; profile=cloud-optimized": "COG",
    "application/geo+json": "GeoJSON",
    "application/x-netcdf": "NetCDF",
    "application/netcdf": "NetCDF",
    "application/vnd+zarr": "Zarr",
    "application/vnd.apache.parquet": "Parquet",
    "text/csv": "CSV",
}


def slug(text: str) -> str:
    """A name of an entry: a-z, 0-9, dot, dash and underline."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9._-]+", "-", plain).strip("-._")[:100].strip("-._") or "entry"


def link(rel: str, href: str, title: str | None = None, kind: str | None = JSON, **more: Any) -> dict[str, Any]:
    return known({"rel": rel, "href": href, "type": kind, "title": title, **more})


def entry_link(rel: str, folder: str, name: str, title: str) -> dict[str, Any]:
    """A link from one entry of the catalog to another."""
    shown = f"{PREFIXES[folder]}: {title}" if rel == "related" else title
    return link(rel, f"../../{entry_path(folder, name)}", shown)


def contacts_of(people: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """People as records name them; an ORCID iD is theirs by its address."""
    found = []
    for one in people:
        person = orcid(str(one.get("orcid") or one.get("identifier") or ""))
        contact = {
            "name": one["name"],
            "identifier": person,
            "organization": one.get("organization"),
            "emails": [{"value": one["email"]}] if one.get("email") else None,
            "links": [link("about", person, "ORCID", "text/html")] if person else None,
            "roles": list(one.get("roles") or ["author"]),
        }
        found.append(known(contact))
    return found


def formats_of(runs: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The formats of what runs made, as far as they have names in the catalog."""
    lists = (value for run in runs for value in (run.get("outputs") or {}).values() if isinstance(value, list))
    types = dict.fromkeys(str(file.get("mediaType")) for files in lists for file in files)
    return [{"name": _FORMATS[kind]} for kind in types if kind in _FORMATS]


def utc(moment: str) -> str:
    """A moment as the catalog takes it. Raises ValueError."""
    return moment_of(moment).astimezone(UTC).isoformat().replace("+00:00", "Z")
