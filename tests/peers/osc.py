"""A small Open Science Catalog: the real records of tests/data/osc, and stand-ins for what they name and link to.

files = catalog()                      # path -> bytes; Files(files) is a tree
url = bare(tmp_path / "osc.git")       # the same as a bare git repository with one commit on main
"""

from __future__ import annotations

import json
import os
import posixpath
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tests.peers.git import WHO

RECORDS = Path(__file__).parents[1] / "data" / "osc" / "records"
HOME = "https://esa-earthcode.github.io/open-science-catalog-metadata/"
FOLDERS = {
    "projects": ("child", "collection", "Projects"),
    "themes": ("child", "catalog", "Themes"),
    "variables": ("child", "catalog", "Variables"),
    "eo-missions": ("child", "catalog", "EO Missions"),
    "products": ("child", "collection", "Products"),
    "workflows": ("item", "record", "Workflows"),
    "experiments": ("item", "record", "Experiments"),
}
PROJECT, WORKFLOW = "projects/fairsendd/collection.json", "workflows/fairsendd/record.json"
OSC = "https://stac-extensions.github.io/osc/v1.0.0/schema.json"
THEMES = "https://stac-extensions.github.io/themes/v1.0.0/schema.json"
CONTACTS = "https://stac-extensions.github.io/contacts/v0.1.1/schema.json"
CONCEPTS = [{"scheme": "https://github.com/stac-extensions/osc#theme", "concepts": [{"id": "land"}]}]


def catalog() -> dict[str, bytes]:
    """Path -> content."""
    return dict(_catalog())


def real() -> list[str]:
    """The paths of the real records."""
    return sorted(path.relative_to(RECORDS).as_posix() for path in RECORDS.rglob("*.json"))


def bare(place: Path, files: Mapping[str, bytes] | None = None) -> str:
    """A bare repository with the catalog on `main`; gives its path, which git takes as an address."""
    work = place.with_suffix(".work")
    for path, content in (files or catalog()).items():
        (work / path).parent.mkdir(parents=True, exist_ok=True)
        (work / path).write_bytes(content)
    run(work, "init", "-q", "-b", "main")
    run(work, "add", "-A")
    run(work, "commit", "-q", "-m", "The catalog")
    run(work.parent, "clone", "-q", "--bare", str(work), str(place))
    return str(place)


def offered(place: Path) -> dict[str, Any]:
    """Settings of a broker that offers the catalog at a new place: `osc`, and `test`, from which one promotes there."""
    catalog = {"kind": "git", "remote": bare(place / "osc.git")}
    return {"targets": {"osc": catalog, "test": {**catalog, "test": True, "promotes_to": "osc"}}}


def run(folder: Path, *words: str) -> str:
    """Git in a folder; what it printed."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **WHO}
    done = subprocess.run(["git", *words], cwd=folder, env=environment, check=True, capture_output=True)
    return done.stdout.decode()


@cache
def _catalog() -> dict[str, bytes]:
    files = {path.relative_to(RECORDS).as_posix(): path.read_bytes() for path in RECORDS.rglob("*") if path.is_file()}
    named = _named(files)
    titles = {path: _title(json.loads(files[path])) for path in (PROJECT, WORKFLOW)}
    for path, title in sorted(named.items()):
        folder, name, _ = path.split("/")
        files[path] = json.dumps(_stand_in(folder, name, title, titles), indent=2).encode()
    for path in [path for path in files if path.startswith("themes/") and path.count("/") == 2]:
        link = next(one for one in json.loads(files[path])["links"] if one["rel"] == "preview")
        files[posixpath.normpath(f"{posixpath.dirname(path)}/{link['href']}")] = picture(*link["proj:shape"])
    for folder, (rel, kind, title) in FOLDERS.items():
        if f"{folder}/catalog.json" not in files:
            files[f"{folder}/catalog.json"] = _list(files, folder, rel, kind, title)
    return files


def _named(files: Mapping[str, bytes]) -> dict[str, str]:
    """The entries that lists and records link to and that are not there -> their titles. A list's title counts most:
    it must be the entry's own."""
    found: dict[str, str] = {"eo-missions/sentinel-2/catalog.json": "Sentinel-2"}
    ranked = sorted(files, key=lambda path: path.count("/"), reverse=True)
    for path in ranked:
        if not path.endswith(".json"):
            continue
        for link in json.loads(files[path])["links"]:
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), link["href"]))
            parts = target.split("/")
            if "://" in link["href"] or len(parts) != 3 or parts[0] not in FOLDERS or target in files:
                continue
            if parts[2] == f"{FOLDERS[parts[0]][1]}.json":
                title = link.get("title") or parts[1]
                found[target] = title.partition(": ")[2] if link["rel"] == "related" else title
    return found


def picture(height: int, width: int) -> bytes:
    """The beginning of a WebP, which is all that tells its size."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + (22).to_bytes(4, "little") + b"WEBPVP8X" + (10).to_bytes(4, "little") + bytes(4) + size


def _stand_in(folder: str, name: str, title: str, titles: Mapping[str, str]) -> dict[str, Any]:
    kind = FOLDERS[folder][1]
    parent = FOLDERS[folder][2]
    links = [
        _link("root", "../../catalog.json", "Open Science Catalog"),
        _link("parent", "../catalog.json", parent),
        {"rel": "self", "href": f"{HOME}{folder}/{name}/{kind}.json", "type": "application/json"},
    ]
    document: dict[str, Any] = {"id": name, "links": links}
    if kind == "record":
        own = {"osc:project": "fairsendd"} if folder == "workflows" else {"osc:workflow": "fairsendd"}
        target, prefix = (PROJECT, "Project") if folder == "workflows" else (WORKFLOW, "Workflow")
        links.append(_link("related", f"../../{target}", f"{prefix}: {titles[target]}"))
        links += [{"rel": rel, "href": "https://example.org/"} for rel in ("input", "environment")]
        core = "http://www.opengis.net/spec/ogcapi-records-1/1.0/req/record-core"
        properties = {"title": title, "type": folder.rstrip("s"), **own}
        return {"type": "Feature", "geometry": None, "conformsTo": [core], "properties": properties, **document}
    document |= {"stac_version": "1.0.0", "title": title, "description": f"Stands in for {title}."}
    if folder == "themes":
        shape: dict[str, Any] = {"proj:epsg": None, "proj:shape": [400, 600]}
        links.append({"rel": "preview", "href": "./image.webp", "type": "image/webp", **shape})
    else:
        links.append({"rel": "via", "href": "https://example.org/"})
    if folder in ("themes", "eo-missions", "variables"):
        document["type"] = "Catalog"
    else:
        extent = {
            "spatial": {"bbox": [[-180, -90, 180, 90]]},
            "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]},
        }
        document |= {"type": "Collection", "license": "various", "extent": extent, "osc:status": "completed"}
        document |= {"osc:type": folder.rstrip("s"), "stac_extensions": [OSC, THEMES, CONTACTS]}
        officer = {"name": "An Officer", "roles": ["technical_officer"], "emails": [{"value": "officer@example.org"}]}
        document["contacts"] = [officer]
    if folder == "products":
        document |= {"osc:project": "fairsendd", "stac_extensions": [OSC, THEMES]}
        links.append(_link("related", f"../../{PROJECT}", f"Project: {titles[PROJECT]}"))
    if folder in ("products", "projects", "variables"):
        document["themes"] = CONCEPTS
        links.append(_link("related", "../../themes/land/catalog.json", "Theme: Land"))
    if folder == "variables":
        document["stac_extensions"] = [THEMES]
    return document


def _list(files: Mapping[str, bytes], folder: str, rel: str, kind: str, title: str) -> bytes:
    names = sorted(path.split("/")[1] for path in files if path.startswith(f"{folder}/") and path.count("/") == 2)
    links = [
        _link("root", "../catalog.json", "Open Science Catalog"),
        _link("parent", "../catalog.json", "Open Science Catalog"),
    ]
    links.append({"rel": "self", "href": f"{HOME}{folder}/catalog.json", "type": "application/json"})
    for name in dict.fromkeys(names):
        links.append(_link(rel, f"./{name}/{kind}.json", _title(json.loads(files[f"{folder}/{name}/{kind}.json"]))))
    document = {
        "type": "Catalog",
        "id": folder,
        "stac_version": "1.0.0",
        "description": title,
        "links": links,
        "title": title,
    }
    return json.dumps(document, indent=2).encode()


def _title(document: Mapping[str, Any]) -> str:
    return str(document["properties"]["title"] if document["type"] == "Feature" else document["title"])


def _link(rel: str, href: str, title: str) -> dict[str, str]:
    return {"rel": rel, "href": href, "type": "application/json", "title": title}
