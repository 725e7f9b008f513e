"""The records of the Open Science Catalog: workflow, experiment and product, from a request and what is published.

Pure: a record is a dict, a link a dict; nothing is asked of anybody but the titles in the catalog.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from broker.jobs.record import known
from broker.results.catalogrequest import CatalogRequest
from broker.results.catalogschemas import EXTENSIONS, licences
from broker.results.osc import HOME, RECORD_CORE, THEMES, Catalog, entry_path
from broker.results.published import Published, process_link, run_again_link
from broker.results.recordparts import (
    APPLICATION,
    DIGEST,
    PACKAGES,
    SCIENTIFIC,
    VIA,
    contacts_of,
    entry_link,
    formats_of,
    link,
    slug,
    utc,
)


class Records:
    """Makes the records of one publication; ids and titles are settled first, since all of them lead to each other."""

    def __init__(self, request: CatalogRequest, published: Published, catalog: Catalog) -> None:
        self.request, self.published, self.catalog = request, published, catalog
        subject = published.subject or {}
        self.kind = str(subject.get("kind") or "cwl")
        self.workflow_id, self.workflow_known = self._workflow_of(subject)
        self.product_id = request.own("product", "id") or slug(str(request.of("product", "title") or ""))
        self.experiment_ids = [self._experiment_id(run) for run in published.runs]

    def title(self, kind: str, number: int = 0) -> str:
        """Of a record to be written; a workflow that is there keeps its own."""
        if kind == "workflow" and self.workflow_known:
            return self.catalog.title(entry_path("workflows", self.workflow_id)) or self.workflow_id
        found = str(self.request.of(kind, "title"))
        own = self.request.own(kind, "title")
        if kind == "experiment" and len(self.experiment_ids) > 1:
            return f"{found} ({number + 1} of {len(self.experiment_ids)})"
        return found if own or kind != "workflow" else str((self.published.subject or {}).get("title") or found)

    def package_file(self) -> tuple[str, bytes] | None:
        """Where the package lies in the catalog, when nothing else keeps it."""
        if self.published.package is None or self.published.package_href is not None:
            return None
        return f"workflows/{self.workflow_id}/{PACKAGES[self.kind][2]}", self.published.package

    def workflow(self) -> dict[str, Any]:
        subject, request = self.published.subject or {}, self.request
        source = subject.get("source") or {}
        path = entry_path("workflows", self.workflow_id)
        licence = request.own("workflow", "licence") or source.get("license")
        steps = [step for run in self.published.runs for step in run.get("steps") or ()]
        properties = self._properties("workflow", path, self.title("workflow")) | known(
            {
                "version": request.own("workflow", "version") or subject.get("version"),
                "description": request.own("workflow", "description") or subject.get("description"),
                "license": licence if licence in licences() else None,
                "formats": formats_of(self.published.runs),
                "application:type": self.kind,
                "application:container": any(step.get("image") for step in steps) if steps else None,
                DIGEST: subject.get("digest"),
            }
        )
        properties |= self._doi("workflow", skip=True)
        if not request.listed("contacts") and source.get("authors"):
            properties["contacts"] = contacts_of({**one, "roles": ["author"]} for one in source["authors"])
        links = [*self._record_links("Workflows", path), *self._subjects(), *self._runnable(subject, source)]
        if "experiment" in request.records:
            for number, name in enumerate(self.experiment_ids):
                links.append(entry_link("child", "experiments", name, self.title("experiment", number)))
        return self._record(self.workflow_id, [APPLICATION], properties, links)

    def experiment(self, number: int) -> dict[str, Any]:
        run, name = self.published.runs[number], self.experiment_ids[number]
        path, job = entry_path("experiments", name), run["job"]["id"]
        properties = self._properties("experiment", path, self.title("experiment", number)) | {
            "formats": formats_of([run]),
            "osc:workflow": self.workflow_id,
        }
        if version := (run["process"] or {}).get("version"):
            properties["version"] = version
        links = [*self._record_links("Experiments", path), *self._subjects()]
        links.append(entry_link("related", "workflows", self.workflow_id, self.title("workflow")))
        if "product" in self.request.records:
            links.append(entry_link("child", "products", self.product_id, self.product_title()))
        yaml = "application/yaml"
        links.append(link("input", "./input.yaml", "Input parameters", yaml))
        links.append(link("environment", "./environment.yaml", "Execution environment", yaml))
        links.append(link("output", "./outputs.yaml", "Outputs with their checksums", yaml))
        if crate := self.published.crates.get(job):
            links.append(link("provenance", crate, "Provenance Run Crate", None))
        if broker := self.published.broker:
            links.append(link("via", run_again_link(broker, name), "Run this experiment again", "text/html"))
        return self._record(name, [], properties, links)

    def product_title(self) -> str:
        there = self.catalog.title(entry_path("products", self.product_id)) if self.extends_product else None
        return there or self.title("product")

    @property
    def extends_product(self) -> bool:
        """Whether the product is there, and not made by a publication of these runs (or of this data)."""
        document = self.catalog.document(entry_path("products", self.product_id))
        if document is None:
            return False
        first = self.experiment_ids[0] if self.experiment_ids else document.get("osc:experiment")
        return "extent" not in self.request.values or document.get("osc:experiment") != first

    def product(self) -> dict[str, Any]:
        request, path = self.request, entry_path("products", self.product_id)
        extent = request.values["extent"]
        contacts = contacts_of(request.listed("contacts"))
        doi = self._doi("product", skip=False)  # STAC's extension of the catalog knows no osc:skip_doi
        names = [
            "osc",
            "themes",
            *(["cf"] if request.listed("parameters") else ()),
            *(["contacts"] if contacts else ()),
        ]
        interval = [one and utc(one) for one in extent["interval"]]
        return known(
            {
                "type": "Collection",
                "id": self.product_id,
                "stac_version": "1.0.0",
                "stac_extensions": [*(EXTENSIONS[name] for name in names), *([SCIENTIFIC] if doi else ())],
                "title": self.product_title(),
                "description": request.of("product", "description"),
                "keywords": request.of("product", "keywords"),
                "license": request.of("product", "licence"),
                "created": self._created(path),
                "updated": self.published.moment,
                "version": request.own("product", "version"),
                "extent": {"spatial": {"bbox": [extent["bbox"]]}, "temporal": {"interval": [interval]}},
                "osc:type": "product",
                "osc:status": request.values.get("status", "completed"),
                "osc:project": request.project,
                "osc:region": request.values.get("region"),
                "osc:variables": request.listed("variables"),
                "osc:missions": request.listed("missions"),
                "osc:experiment": self.experiment_ids[0] if "experiment" in request.records else None,
                "cf:parameter": request.listed("parameters") or None,
                "themes": self._themes(),
                "contacts": contacts or None,
                **doi,
                "links": [*self._record_links("Products", path), *self._subjects(), *self._product_links(doi)],
            }
        )

    def product_experiments(self) -> list[dict[str, Any]]:
        """The links from a product to the runs that made it."""
        if "experiment" not in self.request.records:
            return []
        return [
            entry_link("related", "experiments", name, self.title("experiment", number))
            for number, name in enumerate(self.experiment_ids)
        ]

    def _product_links(self, doi: Mapping[str, Any]) -> list[dict[str, Any]]:
        request = self.request
        found = []
        for folder, name in (("variables", "variables"), ("eo-missions", "missions")):
            found += [self._to(folder, value) for value in request.listed(name)]
        found += self.product_experiments()
        values = request.values
        if collection := values.get("collection"):
            found += [link("child", collection, self.product_title())]
            found += [] if values.get("browser") else [link("via", collection, "Access")]
        if browser := values.get("browser"):
            found.append(link("via", browser, "Access", "text/html"))
        for one in request.listed("access"):
            kind = one.get("type") if one.get("type") in VIA else None
            found.append(link("via", one["href"], one.get("title") or "Access", kind))
        if doi:
            found.append(link("cite-as", f"https://doi.org/{doi['sci:doi']}", "DOI", None))
        return found

    def _runnable(self, subject: Mapping[str, Any], source: Mapping[str, Any]) -> list[dict[str, Any]]:
        rel, kind, name = PACKAGES[self.kind]
        found = []
        href = self.published.package_href or (f"./{name}" if self.published.package is not None else None)
        if href is not None:
            found.append(link(rel, href, "Application package", kind, **{"application:type": self.kind}))
        if repository := source.get("repository"):
            more = known({"vcs:type": "git", "vcs:commit": source.get("commit"), "vcs:path": source.get("path")})
            found.append(link("vcs", repository, "Git source repository", None, **more))
        if broker := self.published.broker:
            found.append(link("process", process_link(broker, str(subject["id"])), "Process of a broker"))
        return found

    def _record(
        self, name: str, classes: list[str], properties: dict[str, Any], links: list[dict[str, Any]]
    ) -> dict[str, Any]:
        return {
            "id": name,
            "type": "Feature",
            "conformsTo": [RECORD_CORE, *classes],
            "geometry": None,
            "properties": properties,
            "linkTemplates": [],
            "links": links,
        }

    def _properties(self, kind: str, path: str, title: str) -> dict[str, Any]:
        request = self.request
        return known(
            {
                "created": self._created(path),
                "updated": self.published.moment,
                "type": kind,
                "title": title,
                "description": request.of(kind, "description"),
                "keywords": request.of(kind, "keywords"),
                "contacts": contacts_of(request.listed("contacts")) or None,
                "themes": self._themes(),
                "license": request.of(kind, "licence"),
                "osc:project": request.project,
                "osc:status": request.values.get("status", "completed"),
            }
        )

    def _doi(self, kind: str, *, skip: bool) -> dict[str, Any]:
        found = self.request.own(kind, "doi") or (self.request.values.get("doi") if kind == "product" else None)
        if found == "declined":
            return {"osc:skip_doi": True} if skip else {}
        return {"sci:doi": found} if found not in (None, "requested") else {}

    def _created(self, path: str) -> str:
        """When the record was first made."""
        return str(self.catalog.members(path).get("created") or self.published.moment)

    def _themes(self) -> list[dict[str, Any]]:
        return [{"scheme": THEMES, "concepts": [{"id": name} for name in self.request.themes]}]

    def _record_links(self, folder: str, path: str) -> list[dict[str, Any]]:
        parent = self.catalog.title(f"{path.split('/')[0]}/catalog.json") or folder
        return [
            link("root", "../../catalog.json", self.catalog.title("catalog.json") or "Open Science Catalog"),
            link("parent", "../catalog.json", parent),
            link("self", HOME + path),
        ]

    def _subjects(self) -> list[dict[str, Any]]:
        return [self._to("projects", self.request.project), *(self._to("themes", x) for x in self.request.themes)]

    def _to(self, folder: str, name: str) -> dict[str, Any]:
        return entry_link("related", folder, name, self.catalog.title(entry_path(folder, name)) or name)

    def _experiment_id(self, run: Mapping[str, Any]) -> str:
        own = self.request.own("experiment", "id")
        if own and len(self.published.runs) == 1:
            return str(own)
        return slug(f"{own or run['process']['id']}-{run['job']['id']}")

    def _workflow_of(self, subject: Mapping[str, Any]) -> tuple[str, bool]:
        """The id of the workflow's record, and whether that is there already: one for each package, since experiments
        that were published keep pointing to what they ran."""
        if not subject:
            return "", False
        wanted = self.request.own("workflow", "id") or slug(str(subject["id"]))
        digest = str(subject.get("digest") or "")
        for name in (wanted, slug(f"{wanted}-{subject.get('version') or ''}"), slug(f"{wanted}-{digest[:12]}")):
            path = entry_path("workflows", name)
            if self.catalog.document(path) is None:
                return name, False
            if self.catalog.members(path).get(DIGEST) == digest:
                return name, True
        return slug(f"{wanted}-{digest}"), False
