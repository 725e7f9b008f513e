"""The plan of a publication in the catalog: every file that it adds or changes, and what is wrong with that.

Pure, and the same for the same catalog, request and runs. Once the catalog has it all, nothing is left to change.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.errors import InputError, InputProblem
from broker.results import jsonedit
from broker.results.catalogrequest import CatalogRequest, read
from broker.results.experimentfiles import experiment_files, lacking
from broker.results.osc import FILES, HOME, Catalog, Finding, entry_path, objects
from broker.results.published import Published
from broker.results.recordparts import entry_link, link
from broker.results.records import Records
from broker.results.rules import check
from broker.results.strictrules import check_strictly
from broker.results.tree import Changed, Tree


@dataclass(frozen=True, slots=True)
class Plan:
    """`files`: path -> new content, of what changes; `before`: path -> old content, None for what is new; `records`:
    kind -> addresses once it is live. `digest`: of what is wanted, whatever else is in the catalog."""

    publication: str
    title: str
    previous: str | None
    files: Mapping[str, bytes] = field(repr=False)
    before: Mapping[str, bytes | None] = field(repr=False)
    records: Mapping[str, list[str]]
    findings: tuple[Finding, ...]
    digest: str
    moment: str

    @property
    def branch(self) -> str:
        return f"broker/{self.publication}"

    @property
    def message(self) -> str:
        """Of the commit; its last lines say which publication and plan it is."""
        corrects = f"Corrects: {self.previous}\n" if self.previous else ""
        return f"Publish {self.title}\n\nPublication: {self.publication}\nPlan: {self.digest}\n{corrects}"

    def diff(self) -> str:
        """Every change as a unified diff."""
        return "".join(self._diffs())

    def _diffs(self) -> Iterator[str]:
        for path, content in sorted(self.files.items()):
            old = self.before[path]
            source = "/dev/null" if old is None else f"a/{path}"
            before, after = ((raw or b"").decode(errors="replace").splitlines(keepends=True) for raw in (old, content))
            for line in difflib.unified_diff(before, after, source, f"b/{path}"):
                yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def plan(tree: Tree, document: Mapping[str, Any], published: Published) -> Plan:
    """The plan of a request. Raises InputError with every problem of the request."""
    catalog = Catalog(tree)
    _fit(published)
    request = read(document, catalog, published.possible)
    records = Records(request, published, catalog)
    draft = _Draft(tree, request, published, records)
    draft.fill()
    changed = {path: raw for path, raw in draft.files.items() if tree.read(path) != raw}
    after = Changed(tree, draft.files)
    old = {str(one) for one in check_strictly(tree, changed)}
    findings = [*check(after, changed), *(one for one in check_strictly(after, changed) if str(one) not in old)]
    return Plan(
        publication=published.id,
        title=records.title(request.records[-1]),
        previous=document.get("previous"),
        files=changed,
        before={path: tree.read(path) for path in changed},
        records={kind: [HOME + path for path in paths] for kind, paths in draft.records.items()},
        findings=(*findings, *draft.findings),
        digest=hashlib.sha256(json.dumps(draft.wanted, sort_keys=True).encode()).hexdigest(),
        moment=published.moment,
    )


def _fit(published: Published) -> None:
    failed = [run["job"]["id"] for run in published.runs if run["job"]["phase"] != "successful"]
    if failed:
        raise InputError(InputProblem("", f"only successful jobs are published, not {', '.join(failed)}"))
    if len({run["process"].get("digest") for run in published.runs}) > 1:
        raise InputError(InputProblem("", "the jobs ran different packages: publish them one by one"))


class _Draft:
    """The files of a plan while it is made."""

    def __init__(self, tree: Tree, request: CatalogRequest, published: Published, records: Records) -> None:
        self.tree, self.request, self.published, self.make = tree, request, published, records
        self.files: dict[str, bytes] = {}
        self.records: dict[str, list[str]] = {}
        self.findings: list[Finding] = []
        self.wanted: list[Any] = []

    def fill(self) -> None:
        fills = {"workflow": self._workflow, "experiment": self._experiments, "product": self._product}
        for kind in self.request.records:
            fills[kind]()

    def _workflow(self) -> None:
        make, name = self.make, self.make.workflow_id
        title = make.title("workflow")
        if not make.workflow_known:
            self._write("workflow", "workflows", name, make.workflow(), title, "item")
            if (package := make.package_file()) is not None:
                self._add(*package)
            if self.published.package is None and self.published.package_href is None:
                self._say(entry_path("workflows", name), "package", "links nothing that can be run")
        else:
            self.records["workflow"] = [entry_path("workflows", name)]
        project = entry_path("projects", self.request.project)
        self._link(project, entry_link("related", "workflows", name, title))
        self._value(project, "osc:workflows", name)
        for theme in self.request.themes:
            self._link(entry_path("themes", theme), entry_link("related", "workflows", name, title))

    def _experiments(self) -> None:
        make = self.make
        for number, (run, name) in enumerate(zip(self.published.runs, make.experiment_ids, strict=True)):
            places = self.published.places.get(run["job"]["id"], {})
            title = make.title("experiment", number)
            self._write("experiment", "experiments", name, make.experiment(number), title, "item")
            package = self.published.package_href
            if package is None and (beside := make.package_file()) is not None:
                package = HOME + beside[0]
            for file, content in experiment_files(run, places, package, self.published.entry).items():
                self._add(f"experiments/{name}/{file}", content)
            for problem in lacking(run, places):
                self._say(f"experiments/{name}/input.yaml", "input", problem)
            self._link(entry_path("workflows", make.workflow_id), entry_link("child", "experiments", name, title))

    def _product(self) -> None:
        make, name = self.make, self.make.product_id
        path, title = entry_path("products", name), make.product_title()
        if not make.extends_product:
            self._write("product", "products", name, make.product(), title, "child")
        else:
            self._extend(path)
        back = entry_link("child", "products", name, title)
        self._link(entry_path("projects", self.request.project), back)
        for folder, names in (
            ("themes", self.request.themes),
            ("variables", self.request.listed("variables")),
            ("eo-missions", self.request.listed("missions")),
        ):
            for one in names:
                self._link(entry_path(folder, one), back)

    def _extend(self, path: str) -> None:
        """A product that others made gets the runs, and no more."""
        self.records["product"] = [path]
        document = self.make.catalog.document(path)
        self._belongs(path)
        for one in self.make.product_experiments():
            self._link(path, one)
        if isinstance(document, dict) and "osc:experiment" not in document and "experiment" in self.request.records:
            text = self._text(path)
            self._change(path, jsonedit.with_member(text, "osc:experiment", self.make.experiment_ids[0]), "experiment")

    def _takes_over(self, path: str) -> None:
        """A record is written again, which only a correction may do."""
        if "previous" not in self.request.values:
            why = "is there already: choose another id, or name the publication that this one corrects (previous)"
            self._say(path, "exists", why)
        self._belongs(path)

    def _belongs(self, path: str) -> None:
        project = self.make.catalog.members(path).get("osc:project")
        if project != self.request.project:
            self._say(path, "owner", f"belongs to the project {project!r}: choose another id")

    def _say(self, path: str, rule: str, message: str) -> None:
        self.findings.append(Finding(path, rule, message, official=False))

    def _write(self, kind: str, folder: str, name: str, record: dict[str, Any], title: str, rel: str) -> None:
        path = entry_path(folder, name)
        self.records.setdefault(kind, []).append(path)
        content = (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode()
        if self.tree.read(path) not in (None, content):
            self._takes_over(path)
        self._add(path, content)
        self._link(f"{folder}/catalog.json", link(rel, f"./{name}/{FILES[folder]}.json", title))

    def _add(self, path: str, content: bytes) -> None:
        self.files[path] = content
        self.wanted.append([path, hashlib.sha256(content).hexdigest()])

    def _text(self, path: str) -> str:
        return (self.files[path] if path in self.files else self.tree.read(path) or b"").decode()

    def _link(self, path: str, one: dict[str, Any]) -> None:
        if self._editable(path, "links"):
            self._change(path, jsonedit.with_link(self._text(path), one), one)

    def _value(self, path: str, member: str, value: str) -> None:
        if self._editable(path, member):
            self._change(path, jsonedit.with_value(self._text(path), member, value), [member, value])

    def _editable(self, path: str, member: str) -> bool:
        """Whether a file is there in which a list can be added to; catalogs of others may hold anything."""
        document = json.loads(self.files[path]) if path in self.files else self.make.catalog.document(path)
        if document is None:
            return False
        listed = document.get(member, []) if isinstance(document, dict) and document else None
        fits = isinstance(listed, list) and (member != "links" or len(objects(listed)) == len(listed))
        if not fits:
            self._say(path, "malformed", f"cannot be added to: its {member} are no list as the catalog's schema has it")
        return fits

    def _change(self, path: str, text: str, what: Any) -> None:
        self.files[path] = text.encode()
        self.wanted.append([path, what])
