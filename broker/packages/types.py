"""CWL types as JSON schemas, within what OGC API - Processes 1.0 allows (`nullable`, no lists of types)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.packages.closure import EOAP

CRS84 = "http://www.opengis.net/def/crs/OGC/1.3/CRS84"
BBOX: dict[str, Any] = {
    "type": "record",
    "name": "BBox",
    "fields": [
        {"name": "bbox", "type": {"type": "array", "items": "double"}},
        {"name": "crs", "type": ["null", "string"]},
    ],
}
SCALARS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "boolean": {"type": "boolean"},
    "int": {"type": "integer", "format": "int32"},
    "long": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "float"},
    "double": {"type": "number", "format": "double"},
}
# Fragments of eoap string_format.yaml -> JSON schema formats; their CWL value is a record {value}.
STRING_FORMATS = {
    "Date": "date", "DateTime": "date-time", "Duration": "duration", "Email": "email", "Hostname": "hostname",
    "IDNEmail": "idn-email", "IDNHostname": "idn-hostname", "IPv4": "ipv4", "IPv6": "ipv6", "IRI": "iri",
    "IRIReference": "iri-reference", "JsonPointer": "json-pointer", "Password": "password", "Time": "time",
    "RelativeJsonPointer": "relative-json-pointer", "UUID": "uuid", "URI": "uri", "URIReference": "uri-reference",
    "URITemplate": "uri-template",
}  # fmt: skip
GEOJSON = {"Feature": "geojson-feature", "FeatureCollection": "geojson-feature-collection"}
GEOMETRIES = ("Point", "LineString", "Polygon", "MultiPoint", "MultiLineString", "MultiPolygon", "GeometryCollection")
STAC = {"Item": "stac-item", "Catalog": "stac-catalog", "Collection": "stac-collection"}
_EDAM = {
    "format_2330": "text/plain", "format_2331": "text/html", "format_2332": "application/xml",
    "format_3464": "application/json", "format_3475": "text/tab-separated-values", "format_3508": "application/pdf",
    "format_3547": "image/*", "format_3579": "image/jpeg", "format_3590": "application/x-hdf5",
    "format_3591": "image/tiff", "format_3603": "image/png", "format_3650": "application/netcdf",
    "format_3750": "application/yaml", "format_3752": "text/csv", "format_3981": "application/x-tar",
    "format_3987": "application/zip", "format_3989": "application/gzip",
}  # fmt: skip
_OGC = {
    "geotiff": "image/tiff; application=geotiff", "cog": "image/tiff; application=geotiff; profile=cloud-optimized",
    "netcdf": "application/netcdf", "geojson": "application/geo+json", "hdf5": "application/x-hdf5",
}  # fmt: skip
_URI: dict[str, Any] = {"type": "string", "format": "uri"}


def media_type(formats: Any) -> str | None:
    """The media type that a CWL `format` (an IRI, or the first of several) stands for."""
    first = formats[0] if isinstance(formats, list) and formats else formats
    if not isinstance(first, str):
        return None
    for mark in ("media-types/", "mediatypes/", "media-type/iana:", "iana:", "mediatype:"):
        if mark in first:
            found = first.rpartition(mark)[2].strip("#/")
            return found if "/" in found else None
    last = first.rstrip("/").replace("#", "/").rpartition("/")[2].rpartition(":")[2]
    if last in _EDAM:
        return _EDAM[last]
    if "opengis.net" in first or first.startswith("ogc:"):
        return _OGC.get(last.lower())
    plain = first.split(";")[0].split("/")
    known = ("application", "text", "image", "video", "audio", "model", "multipart", "font")
    return first if len(plain) == 2 and plain[0] in known else None


def members(kind: Any) -> tuple[list[Any], bool]:
    """The alternatives of a type without null, and whether null is one."""
    found = kind if isinstance(kind, list) else [kind]
    return [one for one in found if one != "null"], "null" in found


def resolve(kind: Any, custom: Mapping[str, Any]) -> Any:
    """A custom type's definition for its name; any other type as it is."""
    if isinstance(kind, str) and kind in custom:
        return custom[kind]
    if isinstance(kind, dict) and isinstance(kind.get("type"), dict | list):
        return resolve(kind["type"], custom)
    if isinstance(kind, dict) and kind.get("type") not in ("record", "enum", "array"):
        return resolve(kind.get("type"), custom)
    return kind


def eoap(kind: Any) -> tuple[str, str] | None:
    """File and fragment of an eoap schema's type: ("string_format", "URI"); None for any other."""
    name = kind.get("name") if isinstance(kind, dict) else kind
    if not isinstance(name, str) or not name.startswith(EOAP):
        return None
    path, _, fragment = name.partition("#")
    return path.rpartition("/")[2].removesuffix(".yaml"), fragment


def string_format(kind: Any) -> str | None:
    """The JSON schema format of a value-wrapped eoap string type."""
    found = eoap(kind)
    return STRING_FORMATS.get(found[1]) if found and found[0] == "string_format" else None


def is_bbox(kind: Any) -> bool:
    """True for eoap's BBox, and for any record of the fields `bbox` (numbers) and `crs` (optional)."""
    if eoap(kind) == ("ogc", "BBox"):
        return True
    if not isinstance(kind, dict) or kind.get("type") != "record":
        return False
    fields = {field["name"]: field["type"] for field in kind.get("fields", [])}
    if "bbox" not in fields or not set(fields) <= {"bbox", "crs"}:
        return False
    found, _ = members(fields["bbox"])
    return len(found) == 1 and isinstance(found[0], dict) and found[0].get("items") in ("double", "float")


def schema(kind: Any, custom: Mapping[str, Any], *, media: str | None = None, depth: int = 0) -> dict[str, Any]:
    """The JSON schema of a CWL type as `packages.cwl.Inspection` holds it. `media`: media type of its Files."""
    found, nullable = members(kind)
    if depth > 32 or not found:
        return {"nullable": True} if nullable else {}
    if len(found) == 1:
        whole = _single(found[0], custom, media, depth)
    else:
        whole = _mixed([_single(one, custom, media, depth) for one in found])
    if nullable and whole:
        whole["nullable"] = True
    return whole


def _mixed(alternatives: list[dict[str, Any]]) -> dict[str, Any]:
    """A mixed type is `oneOf` (req/ogc-process-description/input-mixed-type); `anyOf` where a value may fit several."""
    names = [str(one.get("type", "")) for one in alternatives]
    kinds = {"number" if name == "integer" else name for name in names}
    return {"oneOf" if len(kinds) == len(names) and "" not in kinds else "anyOf": alternatives}


def _single(kind: Any, custom: Mapping[str, Any], media: str | None, depth: int) -> dict[str, Any]:
    if isinstance(kind, str) and kind in SCALARS:
        return dict(SCALARS[kind])
    if kind == "File":
        return file_schema(media)
    if kind == "Directory":
        return directory_schema()
    special = _special(kind, custom)
    if special is not None:
        return special
    kind = resolve(kind, custom)
    if isinstance(kind, list):
        return schema(kind, custom, media=media, depth=depth + 1)
    if not isinstance(kind, dict):
        return dict(SCALARS.get(kind, {}))
    if kind["type"] == "enum":
        return {"type": "string", "enum": list(kind["symbols"])}
    if kind["type"] == "array":
        items = schema(kind["items"], custom, media=media, depth=depth + 1)
        return {"type": "array", "items": items}
    return _record(kind, custom, depth)


def _record(kind: Mapping[str, Any], custom: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties, required = {}, []
    for field in kind.get("fields", []):
        one = schema(field["type"], custom, media=media_type(field.get("format")), depth=depth + 1)
        for key, source in (("title", "label"), ("description", "doc")):
            text = prose(field.get(source))
            if text:
                one[key] = text
        properties[field["name"]] = one
        if not members(field["type"])[1]:
            required.append(field["name"])
    whole: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        whole["required"] = required
    return whole


def _special(kind: Any, custom: Mapping[str, Any]) -> dict[str, Any] | None:
    """Types with a meaning of their own in OGC API - Processes."""
    text = string_format(kind)
    if text:
        return {"type": "string", "format": text}
    resolved = resolve(kind, custom)
    if is_bbox(resolved):
        return bbox_schema(resolved, custom)
    found = eoap(kind)
    if found is None:
        return None
    file, name = found
    if file == "geojson" and (name in GEOJSON or name in GEOMETRIES):
        return {
            "type": "object",
            "format": GEOJSON.get(name, "geojson-geometry"),
            "required": ["type"],
            "properties": {"type": {"type": "string", "enum": [name]}},
        }
    if file == "stac" and name in STAC:
        return {"type": "object", "format": STAC[name], "required": ["id", "stac_version"]}
    return None


def bbox_schema(kind: Mapping[str, Any], custom: Mapping[str, Any]) -> dict[str, Any]:
    """A bounding box: west, south, east, north (with heights between: six numbers), and its reference system."""
    crs: dict[str, Any] = {"type": "string", "format": "uri"}
    symbols = crs_symbols(kind, custom)
    if symbols:
        crs["enum"] = symbols
    crs["default"] = symbols[0] if symbols else CRS84
    numbers = {"type": "number", "format": "double"}
    sizes = [{"minItems": 4, "maxItems": 4}, {"minItems": 6, "maxItems": 6}]
    return {
        "type": "object",
        "format": "ogc-bbox",
        "required": ["bbox"],
        "properties": {"bbox": {"type": "array", "items": numbers, "oneOf": sizes}, "crs": crs},
    }


def crs_symbols(kind: Mapping[str, Any], custom: Mapping[str, Any]) -> list[str]:
    """The reference systems that a bounding box type names; [] where any will do."""
    for field in kind.get("fields", []):
        if field["name"] == "crs":
            found = [resolve(one, custom) for one in members(field["type"])[0]]
            return [symbol for one in found if isinstance(one, dict) for symbol in one.get("symbols", [])]
    return []


def file_schema(media: str | None) -> dict[str, Any]:
    """A File: its link as text, or as an object with `href`."""
    text = dict(_URI)
    if media:
        text["contentMediaType"] = media
    return {"oneOf": [text, link_schema(media)]}


def link_schema(media: str | None = None) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": "string"}
    if media:
        kind["default"] = media
    return {"type": "object", "required": ["href"], "properties": {"href": dict(_URI), "type": kind}}


def directory_schema() -> dict[str, Any]:
    """A Directory: the link of a STAC item, collection or catalog (or of a bucket's prefix), or STAC by value."""
    kinds = {"type": "string", "enum": ["Feature", "FeatureCollection", "Collection", "Catalog"]}
    by_value = {"type": "object", "required": ["type", "stac_version"], "properties": {"type": kinds}}
    return {"oneOf": [dict(_URI), link_schema(), by_value]}


def prose(value: Any) -> str:
    """A CWL `doc`: text, or a list of texts."""
    if isinstance(value, list):
        return "\n".join(str(one) for one in value).strip()
    return str(value).strip() if value is not None else ""
