"""Faults put into a valid catalog, one at a time: (name, file, change, rule that finds it, whether officially)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from broker.results.catalogplan import plan
from broker.results.tree import Files
from tests.peers.osc import catalog
from tests.unit.results.samples import JOB, a_request, published

W = "workflows/water-bodies/record.json"
E = f"experiments/water-bodies-{JOB}/record.json"
P = "products/water-bodies-sierra/collection.json"
PROJECT = "projects/fairsendd/collection.json"
THEME = "themes/land/catalog.json"
VARIABLE = "variables/cropland-mask/catalog.json"
MISSION = "eo-missions/sentinel-2/catalog.json"
Document = Any


class Fault(NamedTuple):
    name: str
    path: str
    change: Callable[[Document], Any] | bytes | None  # bytes: the content instead; None: no such file
    rule: str
    official: bool = True
    found: str | None = None  # the file that the finding is about, when it is not `path`


def whole() -> dict[str, bytes]:
    """A valid catalog with a publication of ours in it."""
    return catalog() | ours()


@cache
def ours() -> dict[str, bytes]:
    """What the publication changed."""
    return dict(plan(Files(catalog()), a_request(doi="10.5281/zenodo.1234"), published()).files)


def faulty(fault: Fault, sound: Mapping[str, bytes] | None = None) -> dict[str, bytes]:
    """The files of a sound catalog (default: `whole`) with the fault."""
    files = dict(whole() if sound is None else sound)
    if fault.change is None:
        del files[fault.path]
    elif isinstance(fault.change, bytes):
        files[fault.path] = fault.change
    else:
        document = json.loads(files[fault.path])
        fault.change(document)
        files[fault.path] = json.dumps(document).encode()
    return files


def setting(*names: str | int, to: Any) -> Callable[[Document], Any]:
    def change(document: Document) -> None:
        for name in names[:-1]:
            document = document[name]
        document[names[-1]] = to

    return change


def without(*names: str | int) -> Callable[[Document], Any]:
    def change(document: Document) -> None:
        for name in names[:-1]:
            document = document[name]
        del document[names[-1]]

    return change


def unlinked(rel: str, part: str = "") -> Callable[[Document], Any]:
    def change(document: Document) -> None:
        kept = [one for one in document["links"] if not (one["rel"] == rel and part in one["href"])]
        assert len(kept) < len(document["links"])
        document["links"] = kept

    return change


def linked(rel: str, href: str, title: str = "x", kind: str = "application/json") -> Callable[[Document], Any]:
    return lambda document: document["links"].append({"rel": rel, "href": href, "type": kind, "title": title})


def relinked(rel: str, part: str, **values: Any) -> Callable[[Document], Any]:
    """The first such link with other members."""

    def change(document: Document) -> None:
        link = next(one for one in document["links"] if one["rel"] == rel and part in one["href"])
        link |= values

    return change


FAULTS = [
    Fault("not JSON", W, b"{", "json"),
    Fault("a list", W, b"[]", "json"),
    Fault("no core class", W, setting("conformsTo", to=["x"]), "conformance"),
    Fault("no classes", E, without("conformsTo"), "conformance"),
    Fault("workflow is no Feature", W, setting("type", to="Record"), "type"),
    Fault("id is not the folder", W, setting("id", to="other"), "id"),
    Fault("id of an experiment", E, setting("id", to="other"), "id"),
    Fault("id of a product", P, setting("id", to="other"), "id"),
    Fault("licence", W, setting("properties", "license", to="Apache 2"), "schema"),
    Fault("licence of a product", P, setting("license", to="free"), "schema"),
    Fault("no project", W, without("properties", "osc:project"), "schema"),
    Fault("no workflow", E, without("properties", "osc:workflow"), "schema"),
    Fault("unknown workflow", E, setting("properties", "osc:workflow", to="nothing"), "reference"),
    Fault("unknown project", W, setting("properties", "osc:project", to="nothing"), "reference"),
    Fault("time zone", W, setting("properties", "created", to="2026-11-22T10:00:00+01:00"), "schema"),
    Fault("no input", E, unlinked("input"), "input-link"),
    Fault("no environment", E, unlinked("environment"), "environment-link"),
    Fault("no root", W, unlinked("root"), "root-link"),
    Fault("other root", P, relinked("root", "", href="../catalog.json"), "root-link"),
    Fault("type of the root", P, relinked("root", "", type="text/html"), "root-link"),
    Fault("no parent", E, unlinked("parent"), "parent-link"),
    Fault("title of the root", E, relinked("root", "", title="Catalog"), "link-title"),
    Fault("no link to the project", W, unlinked("related", "projects"), "related-link"),
    Fault("type of a related link", E, relinked("related", "workflows", type="text/html"), "related-link"),
    Fault("child of a workflow is a product", W, linked("child", f"../../{P}"), "child-link"),
    Fault("child of an experiment is a workflow", E, linked("child", f"../../{W}"), "child-link"),
    Fault("child of a workflow is not there", W, linked("child", "../../experiments/no/record.json"), "child-file"),
    Fault("title of a child", E, relinked("child", "products", title="x"), "link-title"),
    Fault(
        "first relative link",
        W,
        lambda d: d["links"].insert(0, {"rel": "related", "href": "https://x.org/"}),
        "relative-link",
    ),
    Fault(
        "self is elsewhere", W, lambda d: d["links"].insert(0, {"rel": "self", "href": "https://x.org/"}), "self-link"
    ),
    Fault("contact without name", W, without("properties", "contacts", 0, "name"), "schema"),
    Fault("workflow not listed", "workflows/catalog.json", unlinked("item", "water-bodies"), "folder-entry"),
    Fault("listed and not there", "workflows/catalog.json", linked("item", "./no/record.json"), "folder-file"),
    Fault("child among items", "workflows/catalog.json", linked("child", "./water-bodies/record.json"), "schema"),
    Fault("title in the list", "workflows/catalog.json", relinked("item", "water-bodies", title="x"), "link-title"),
    Fault("type in the list", "products/catalog.json", relinked("child", "sierra", type="text/html"), "child-link"),
    Fault("id of a list", "products/catalog.json", setting("id", to="product"), "id"),
    Fault("list without title", "experiments/catalog.json", without("title"), "title"),
    Fault("product not listed", "products/catalog.json", unlinked("child", "sierra"), "folder-entry"),
    Fault("product without via", P, unlinked("via"), "via-link"),
    Fault("kind of via", P, relinked("via", "", type="image/tiff"), "schema"),
    Fault("extension of the catalog", P, lambda d: d["stac_extensions"].pop(0), "extension"),
    Fault("extension of themes", P, lambda d: d["stac_extensions"].pop(1), "extension"),
    Fault("unknown osc field", P, setting("osc:workflow", to="water-bodies"), "schema"),
    Fault("status", P, setting("osc:status", to="done"), "schema"),
    Fault("kind of osc", P, setting("osc:type", to="project"), "schema"),
    Fault("unknown mission", P, lambda d: d["osc:missions"].append("sentinel-99"), "reference"),
    Fault("unknown variable", P, lambda d: d["osc:variables"].append("luck"), "reference"),
    Fault("unknown theme", P, lambda d: d["themes"][0]["concepts"].append({"id": "luck"}), "reference"),
    Fault("no themes", P, without("themes"), "themes"),
    Fault("other scheme", P, lambda d: d["themes"][0].update(scheme="x"), "themes"),
    Fault("unknown experiment", P, setting("osc:experiment", to="nothing"), "reference"),
    Fault("a later STAC version", P, setting("stac_version", to="2.0.0"), "stac-version"),
    Fault("extension without address", P, lambda d: d["stac_extensions"].append("x"), "extension"),
    Fault("specification of STAC", VARIABLE, setting("description", to=""), "schema"),
    Fault("no kind of STAC document", MISSION, without("type"), "schema"),
    Fault("link without address", VARIABLE, lambda d: d["links"].append({"rel": "about"}), "schema"),
    Fault("address with a space", W, linked("about", "https://x.org/y z"), "schema"),
    Fault("day of no month", W, setting("properties", "created", to="2026-02-30T10:00:00Z"), "schema"),
    Fault("address that is a number", E, relinked("parent", "", href=5), "parent-link"),
    Fault("kind of self in the list", "themes/catalog.json", relinked("self", "", type="text/html"), "schema"),
    Fault("kind of the picture", THEME, relinked("preview", "", type="image/png"), "preview-link"),
    Fault("picture is not there", THEME, relinked("preview", "", href="./no.webp"), "preview-link"),
    Fault("roles that are none", PROJECT, setting("contacts", 0, "roles", to=5), "technical-officer"),
    Fault("no project in a product", P, without("osc:project"), "reference"),
    Fault("three numbers in a box", P, lambda d: d["extent"]["spatial"]["bbox"][0].pop(), "schema"),
    Fault("project without officer", PROJECT, lambda d: d["contacts"].pop(0), "technical-officer"),
    Fault(
        "project without the extension",
        PROJECT,
        lambda d: d["stac_extensions"].remove(d["stac_extensions"][2]),
        "extension",
    ),
    Fault("child of a project is a workflow", PROJECT, linked("child", f"../../{W}"), "child-link"),
    Fault("unknown workflow of a project", PROJECT, setting("osc:workflows", to=["nothing"]), "reference"),
    Fault("child of a theme is a workflow", THEME, linked("child", f"../../{W}"), "child-link"),
    Fault("theme without picture", THEME, unlinked("preview"), "preview-link"),
    Fault("variable without via", VARIABLE, unlinked("via"), "via-link"),
    Fault(
        "child of a mission is not there", MISSION, linked("child", "../../products/no/collection.json"), "child-file"
    ),
    Fault("out of place", "workflows/water-bodies/deep/more.json", b'{"stac_version": "1.0.0"}', "location"),
    Fault("root without a folder", "catalog.json", unlinked("child", "workflows"), "folder-entry"),
    Fault("root of another title", "catalog.json", setting("title", to="x"), "root"),
    # what the catalog's own validator lets through
    Fault("STAC version", P, setting("stac_version", to="0.9.0"), "stac-version", False),
    Fault("STAC version is a number", P, setting("stac_version", to=1), "stac-version", False),
    Fault("title of a related link", W, relinked("related", "projects", title="Project: x"), "related-title"),
    Fault("no file of inputs", f"experiments/water-bodies-{JOB}/input.yaml", None, "dangling", False, E),
    Fault("empty inputs", f"experiments/water-bodies-{JOB}/input.yaml", b"\n", "empty", False, E),
    Fault("inputs are a text", f"experiments/water-bodies-{JOB}/input.yaml", b"TODO\n", "yaml", False, E),
    Fault("inputs are no YAML", f"experiments/water-bodies-{JOB}/environment.yaml", b"a: [\n", "yaml", False, E),
    Fault(
        "product is related",
        E,
        linked("related", f"../../{P}", "Product: Water bodies of the Sierra Nevada"),
        "product-related",
        False,
    ),
    Fault("not in the theme", THEME, unlinked("child", "sierra"), "back-link", False, P),
    Fault("not in the variable", VARIABLE, unlinked("child", "sierra"), "back-link", False, P),
    Fault("not in the mission", MISSION, unlinked("child", "sierra"), "back-link", False, P),
    Fault("not in the project", PROJECT, unlinked("child", "sierra"), "back-link", False, P),
    Fault("workflow not in the theme", THEME, unlinked("related", "water-bodies"), "back-link", False, W),
    Fault("workflow without its experiment", W, unlinked("child"), "back-link", False, E),
    Fault("experiment without its product", E, unlinked("child"), "back-link", False, P),
    Fault(
        "product without its experiment",
        P,
        lambda d: [unlinked("related", "experiments")(d), d.pop("osc:experiment")],
        "back-link",
        False,
        E,
    ),
    Fault("no self", W, unlinked("self"), "self-link", False),
    Fault(
        "self of another",
        P,
        relinked("self", "", href="https://esa-earthcode.github.io/open-science-catalog-metadata/x"),
        "self-link",
        False,
    ),
    Fault("a link twice", P, lambda d: d["links"].append(d["links"][-1]), "twice", False),
    Fault(
        "absolute inside",
        W,
        relinked(
            "related",
            "themes",
            href="https://esa-earthcode.github.io/open-science-catalog-metadata/themes/land/catalog.json",
        ),
        "relative-link",
        False,
    ),
    Fault("no link to a theme", E, unlinked("related", "themes"), "related-link", False),
    Fault(
        "theme of a workflow", W, setting("properties", "themes", 0, "concepts", 0, "id", to="luck"), "reference", False
    ),
    Fault("nothing to run", W, lambda d: [unlinked(rel)(d) for rel in ("application", "vcs")], "workflow-link", False),
    Fault("no licence", E, without("properties", "license"), "missing", False),
    Fault("not a date", W, setting("properties", "updated", to="yesterday Z"), "schema"),
    Fault(
        "DOI as an address", W, setting("properties", "sci:doi", to="https://doi.org/10.5281/zenodo.1"), "doi", False
    ),
    Fault(
        "ORCID",
        W,
        setting("properties", "contacts", 0, "identifier", to="https://orcid.org/0000-0002-1825-0098"),
        "orcid",
        False,
    ),
    Fault("box upside down", P, setting("extent", "spatial", "bbox", to=[[0, 50, 10, 40]]), "extent", False),
    Fault(
        "time backwards",
        P,
        setting("extent", "temporal", "interval", to=[["2022-01-01T00:00:00Z", "2021-01-01T00:00:00Z"]]),
        "extent",
        False,
    ),
    Fault("no time at all", P, setting("extent", "temporal", "interval", to=[[None, None]]), "extent", False),
]
