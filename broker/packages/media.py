"""The media types in which a deploy request may come."""

from __future__ import annotations

from broker.errors import UnsupportedMediaType

CWL_TYPES = ("application/cwl", "application/cwl+json", "application/cwl+yaml", "application/x-cwl")
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml")
BUNDLE_TYPE = "application/vnd.earthcode-broker.bundle+json"
OPENEO_TYPE = "application/vnd.openeo+json"
PACKAGE_TYPES = ("application/ogcapppkg+json", "application/json")


def taken(content_type: str) -> str:
    """The media type of a Content-Type. Raises UnsupportedMediaType for one that cannot be deployed."""
    media = content_type.split(";")[0].strip().lower()
    if media not in (*CWL_TYPES, *YAML_TYPES, BUNDLE_TYPE, OPENEO_TYPE, *PACKAGE_TYPES):
        raise UnsupportedMediaType(
            f"A package of the media type {media or 'that is not given'} cannot be deployed.",
            hint="Send application/cwl+yaml, application/cwl+json, application/ogcapppkg+json "
            f"or {OPENEO_TYPE};type=process.",
        )
    return media
