"""Where a package came from, who wrote it and under which licence: kept with the process, for its catalog record.

A source is JSON: `repository`, `commit`, `committed` (RFC 3339), `path` of a package from git; `href` of one that was
read from a link; `license` (an SPDX identifier, or a link) and `authors` ({"name", "identifier"?}) as far as the
package says them, else the files of its repository: CITATION.cff, codemeta.json, LICENSE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from broker.packages.describe import SCHEMA_ORG

MOST_AUTHORS = 50
LONGEST = 300


def completed(source: Mapping[str, Any], process: Mapping[str, Any]) -> dict[str, Any] | None:
    """The source with what the package's own schema.org metadata say, which count more; None for nothing at all."""
    own = {
        "license": next(filter(None, (text_of(value) for value in _schema_org(process, "license"))), None),
        "authors": authors_of(list(_schema_org(process, "author"))),
    }
    return {**source, **{key: value for key, value in own.items() if value}} or None


def described(source: Mapping[str, Any], description: Mapping[str, Any]) -> dict[str, Any]:
    """A process description with what its `metadata` do not say yet: repository at its commit, licence, authors."""
    told = [one for one in description.get("metadata") or () if isinstance(one, Mapping)]
    roles = {str(one.get("role")).rpartition("/")[2] for one in told}
    found = list(told)
    if "repository" in source and "codeRepository" not in roles:
        title = f"{source['repository']} at {source['commit']}"
        found.append({"title": title, "role": SCHEMA_ORG[0] + "codeRepository", "href": source["repository"]})
    if "license" in source and "license" not in roles:
        found.append({"title": source["license"], "role": SCHEMA_ORG[0] + "license", **_href(source["license"])})
    for one in source.get("authors") or () if "author" not in roles else ():
        found.append({"title": one["name"], "role": SCHEMA_ORG[0] + "author", **_href(one.get("identifier"))})
    return {**description, "metadata": found} if found else dict(description)


def _href(text: str | None) -> dict[str, str]:
    return {"href": text} if text and text.startswith(("https://", "http://")) else {}


def _schema_org(process: Mapping[str, Any], name: str) -> Iterator[Any]:
    for base in SCHEMA_ORG:
        value = process.get(base + name)
        yield from value if isinstance(value, list) else [value]


def text_of(value: Any) -> str | None:
    """A licence as text: itself, or the identifier or address of a thing; spdx.org's address gives its identifier."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, Mapping):
        plain = _plain(value)
        value = plain.get("identifier") or plain.get("url") or plain.get("id") or plain.get("name")
    if not isinstance(value, str) or not value.strip():
        return None
    text = value.strip()[:LONGEST]
    return re.sub(r"^https?://spdx\.org/licenses/([\w.+-]+?)(\.html|\.json)?$", r"\1", text)


def authors_of(values: list[Any]) -> list[dict[str, str]]:
    return [found for value in values[:MOST_AUTHORS] if (found := _author(value))]


def _author(value: Any) -> dict[str, str] | None:
    """A person or organisation: {"name"}, and an `identifier` where it has one that is a link (ORCID, ROR)."""
    if isinstance(value, str):
        return {"name": value.strip()[:LONGEST]} if value.strip() else None
    if not isinstance(value, Mapping):
        return None
    plain = _plain(value)
    parts = [plain.get("given-names") or plain.get("givenName"), plain.get("family-names") or plain.get("familyName")]
    name = plain.get("name") or " ".join(one for one in parts if isinstance(one, str))
    if not isinstance(name, str) or not name.strip():
        return None
    found = {"name": name.strip()[:LONGEST]}
    for key in ("orcid", "identifier", "id", "url", "website"):
        one = plain.get(key)
        if isinstance(one, str) and one.startswith(("https://", "http://")):
            return {**found, "identifier": one[:LONGEST]}
    return found


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Keys without their namespace: `s:name`, `https://schema.org/name` and `@id` are `name` and `id`."""
    return {str(key).rpartition("/")[2].rpartition(":")[2].lstrip("@"): one for key, one in value.items()}
