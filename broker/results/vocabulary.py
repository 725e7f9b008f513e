"""What a catalog knows, for pick lists: its projects, themes, variables and missions, and the licences it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from broker.results.catalogschemas import licences
from broker.results.osc import Catalog, target
from broker.results.tree import Tree


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """id -> title, in the order of the titles; `licences`: their identifiers in order."""

    projects: Mapping[str, str]
    themes: Mapping[str, str]
    variables: Mapping[str, str]
    missions: Mapping[str, str]
    licences: tuple[str, ...]


def vocabulary(tree: Tree) -> Vocabulary:
    """What is in a catalog. Titles are those of the folders' lists, so that only these are read: an entry that its
    list leaves out has its id for a title."""
    catalog = Catalog(tree)
    folders = ("projects", "themes", "variables", "eo-missions")
    projects, themes, variables, missions = (_entries(catalog, folder) for folder in folders)
    return Vocabulary(projects, themes, variables, missions, tuple(sorted(licences())))


def _entries(catalog: Catalog, folder: str) -> dict[str, str]:
    titles = dict(_listed(catalog, f"{folder}/catalog.json"))
    found = {name: titles.get(name, name) for name in catalog.entries.get(folder, ())}
    return dict(sorted(found.items(), key=lambda one: (one[1].casefold(), one[0])))


def _listed(catalog: Catalog, path: str) -> Iterator[tuple[str, str]]:
    """Name and title of the links of a folder's list."""
    document = catalog.document(path)
    links = document.get("links") if isinstance(document, Mapping) else None
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and isinstance(link.get("href"), str) and isinstance(link.get("title"), str):
            parts = target(path, link["href"]).split("/")
            if len(parts) == 3:
                yield parts[1], link["title"]
