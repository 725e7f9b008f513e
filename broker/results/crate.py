"""The Provenance Run Crate of a job: RO-Crate 1.1 metadata of its record, package, inputs, steps and outputs.

Profiles: Process, Workflow and Provenance Run Crate 0.5, Workflow RO-Crate 1.0 (https://w3id.org/ro/wfrun). A job of
which no step ran is a Workflow Run Crate only. Terms that RO-Crate's own context lacks are defined in the document, so
that a reader needs that one context. Data stays where it is: files are web addresses, the package lies in the crate.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from broker.results.crategraph import LANGUAGES, WFRUN, Entity, Graph, package_path, ref, refs, status, time
from broker.results.cratesteps import Steps

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
TERMS = {
    name: WFRUN + name for name in ("containerImage", "ContainerImage", "resourceUsage", "sha256", "tag", "DockerImage")
}
PROFILES = {
    "process": ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    "workflow": ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    "provenance": ("https://w3id.org/ro/wfrun/provenance/0.5", "Provenance Run Crate", "0.5"),
    "workflow-ro-crate": ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
}
WORKFLOW = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
PARAMETER = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
RECORDS = {  # what else lies in the crate
    "provenance/record.json": ("application/json", "The broker's record of provenance"),
    "provenance/prov.json": ("application/json", "The same as PROV-JSON"),
    "provenance/prov.provn": ("text/provenance-notation", "The same as PROV-N"),
}
UNKNOWN_LICENSE = "No licence is stated for the package."
_KINDS = {
    "File": "File",
    "Directory": "Dataset",
    "string": "Text",
    "enum": "Text",
    "boolean": "Boolean",
    "int": "Integer",
    "long": "Integer",
    "float": "Float",
    "double": "Float",
    "record": "PropertyValue",
}


def metadata(
    record: Mapping[str, Any],
    bundle: Mapping[str, Any],
    inspection: Mapping[str, Any],
    here: str,
    place: Callable[[str], str] | None = None,
) -> dict[str, Any]:
    """`ro-crate-metadata.json`. `bundle`, `inspection`: of the record's package (`to_json`); `here`: the address of the
    job; `place` gives the address (or path in the crate) of an output, by default the job's file."""
    made = _Crate(record, bundle, inspection, here, place or (lambda path: f"{here}/files/{quote(path)}"))
    made.fill()
    return {"@context": [CONTEXT, TERMS], "@graph": made.graph.listed()}


class _Crate:
    def __init__(
        self,
        record: Mapping[str, Any],
        bundle: Mapping[str, Any],
        inspection: Mapping[str, Any],
        here: str,
        place: Callable[[str], str],
    ) -> None:
        self.record, self.bundle, self.inspection, self.here, self.place = record, bundle, inspection, here, place
        self.graph = Graph()
        self.files: dict[str, str] = {}  # path of the record -> entity
        self.parts: list[str] = []
        self.document = str(bundle["entry"]).partition("#")[0]
        self.main = quote(package_path(self.document))
        self.steps = [step for step in record["steps"] if step.get("start")]

    def fill(self) -> None:
        wanted = ["process", "workflow", *(["provenance"] if self.steps else []), "workflow-ro-crate"]
        profiles = [PROFILES[name] for name in wanted]
        job, process = self.record["job"], self.record["process"]
        title = job.get("title") or process.get("title") or process["id"]
        source = process.get("source") or {}
        self.graph.add("ro-crate-metadata.json", "CreativeWork", about=ref("./"))
        self.graph["ro-crate-metadata.json"]["conformsTo"] = refs(
            ["https://w3id.org/ro/crate/1.1", PROFILES["workflow-ro-crate"][0]]
        )
        self.graph.add(
            "./",
            "Dataset",
            name=f"Run of {title}",
            description=f"The job {job['id']} of the process {process['id']}, {job['phase']}.",
            datePublished=job.get("finished") or job.get("created"),
            license=self.license(source.get("license")),
            conformsTo=refs(address for address, _, _ in profiles),
            identifier=self.here,
        )
        for address, name, number in profiles:
            self.graph.add(address, "CreativeWork", name=name, version=number)
        self.package()
        self.agents()
        inputs = list(self.inputs())
        outputs = list(self.outputs())
        self.run(inputs, outputs)
        for path, (kind, name) in RECORDS.items():
            self.parts.append(self.graph.add(path, "File", name=name, encodingFormat=kind))
        self.graph["./"] |= {"mainEntity": ref(self.main), "hasPart": refs(self.parts)}
        self.graph["./"]["mentions"] = refs(name for name, one in self.graph.items() if _is_action(one))

    def license(self, known: str | None) -> Any:
        if not known:
            return UNKNOWN_LICENSE
        address = known if known.startswith(("http://", "https://")) else f"https://spdx.org/licenses/{quote(known)}"
        return ref(self.graph.add(address, "CreativeWork", name=known))

    def package(self) -> None:
        process = self.record["process"]
        source = process.get("source") or {}
        for key in (*self.bundle["documents"], *self.bundle.get("files", {})):
            path = quote(package_path(key))
            if path != self.main and not key.endswith("/"):
                self.parts.append(self.graph.add(path, "File", name=key, encodingFormat=_format(key)))
        self.parts.append(self.main)
        kind = str(process.get("kind"))
        language, name, short, identifier, url, media = LANGUAGES.get(kind, LANGUAGES["cwl"])
        self.graph.add(
            language, "ComputerLanguage", name=name, alternateName=short, identifier=ref(identifier), url=ref(url)
        )
        written = [self.author(one) for one in source.get("authors") or ()]
        self.graph.add(
            self.main,
            ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            name=process.get("title") or process["id"],
            version=process.get("version"),
            conformsTo=ref(WORKFLOW),
            programmingLanguage=ref(language),
            encodingFormat=media,
            sha256=hashlib.sha256(self.bundle["documents"][self.document].encode()).hexdigest(),
            identifier=process.get("digest"),
            creator=refs(written),
            codeRepository=source.get("repository"),
            input=[ref(self.parameter("input", one)) for one in self.used_parameters("inputs")],
            output=[ref(self.parameter("output", one)) for one in self.used_parameters("outputs")],
        )

    def used_parameters(self, side: str) -> Iterator[Mapping[str, Any]]:
        """The parameters of the package that this run gave something to."""
        return (one for one in self.inspection["process"].get(side) or () if self.record[side].get(one["id"]))

    def author(self, one: Mapping[str, str]) -> str:
        name = one.get("identifier") or f"#author-{quote(one['name'])}"
        return self.graph.add(name, "Person", name=one["name"])

    def parameter(self, side: str, one: Mapping[str, Any]) -> str:
        kind, many, optional = _kind(one.get("type"))
        return self.graph.add(
            f"#{side}-{quote(one['id'])}",
            "FormalParameter",
            name=one["id"],
            description=one.get("label") or one.get("doc") if isinstance(one.get("doc"), str | None) else None,
            additionalType=kind,
            multipleValues=many or None,
            valueRequired=not optional,
            conformsTo=ref(PARAMETER),
        )

    def agents(self) -> None:
        who, broker, engine = self.record["agent"], self.record["broker"], self.record.get("engine") or {}
        orcid = str(who.get("orcid") or "")
        person = orcid if orcid.startswith("http") else f"https://orcid.org/{orcid}" if orcid else "#agent"
        about = {"identifier": who.get("subject") or who.get("person")}
        self.person = self.graph.add(person, "Person", name=who.get("name") or who.get("person"), **about)
        self.engine = self.graph.add(
            "#engine",
            "SoftwareApplication",
            name=engine.get("name") or "unknown",
            softwareVersion=engine.get("version"),
            url="https://www.commonwl.org/" if engine.get("name") == "cwltool" else None,
        )
        self.graph["./"]["author"] = ref(self.person)
        self.graph.add("#broker", "SoftwareApplication", name="earthcode-broker", softwareVersion=broker["version"])

    def inputs(self) -> Iterator[str]:
        for name, found in self.record["inputs"].items():
            if isinstance(found, Mapping):
                yield self.value("input", name, found["value"])
                continue
            for one in found:
                address = str(one.get("location") or "")
                if not address.startswith(("http://", "https://", "s3://")):
                    address = f"{self.here}/inputs#{quote(one['path'])}"
                yield self.file(address, one, "input", name, files=one.get("files"))

    def outputs(self) -> Iterator[str]:
        for name, found in self.record["outputs"].items():
            if isinstance(found, Mapping):
                yield self.value("output", name, found["value"])
                continue
            for one in found:
                yield self.file(self.place(one["path"]), one, "output", name)

    def value(self, side: str, name: str, value: Any) -> str:
        text = value if isinstance(value, str) else json.dumps(value)
        example = self.example(side, name, f"#{side}-value-{quote(name)}")
        return self.graph.add(
            f"#{side}-value-{quote(name)}", "PropertyValue", name=name, value=text, exampleOfWork=example
        )

    def example(self, side: str, name: str, entity: str) -> Any:
        """The parameter that an entity is an example of, which then says so too."""
        parameter = self.graph.get(f"#{side}-{quote(name)}")
        if parameter is None:
            return None
        parameter.setdefault("workExample", []).append(ref(entity))
        return ref(parameter["@id"])

    def file(self, address: str, one: Mapping[str, Any], side: str, name: str, files: Any = None) -> str:
        self.graph.add(
            address,
            "Dataset" if files is not None else "File",
            name=str(one["path"]).rpartition("/")[2],
            encodingFormat=one.get("mediaType"),
            contentSize=str(one["size"]) if "size" in one else None,
            sha256=one.get("sha256"),
            identifier=one.get("stacId"),
            exampleOfWork=self.example(side, name, address),
        )
        self.parts.append(address)
        for path in filter(None, (one["path"], one.get("source"))):
            self.files[path] = address
        return address

    def run(self, inputs: list[str], outputs: list[str]) -> None:
        job = self.record["job"]
        failure = self.record.get("failure") or {}
        error = failure.get("message") or ("The job was dismissed." if job["phase"] == "dismissed" else None)
        action = self.graph.add(
            f"#run-{job['id']}",
            "CreateAction",
            name=f"Run of {self.graph[self.main]['name']}",
            description=self.graph["./"]["description"],
            startTime=time(job.get("started")),
            endTime=time(job.get("finished")),
            agent=ref(self.person),
            instrument=ref(self.main),
            object=refs(inputs),
            result=refs(outputs),
            actionStatus=status(job["phase"]),
            error=error,
        )
        if not self.steps:
            return
        known = self.inspection.get("steps") or ()
        steps = Steps(self.graph, self.bundle, known, self.main, self.files, self.person)
        self.graph.add(
            "#organize",
            "OrganizeAction",
            name=f"{self.graph[self.engine]['name']} on {self.record['platform']['name']}",
            instrument=ref(self.engine),
            object=refs(steps.add(self.steps)),
            result=ref(action),
            agent=ref("#broker"),
            startTime=time(job.get("started")),
            endTime=time(job.get("finished")),
        )


def _is_action(entity: Entity) -> bool:
    return entity["@type"] in ("CreateAction", "OrganizeAction")


def _kind(kind: Any) -> tuple[str, bool, bool]:
    """schema.org's word for a CWL type; whether it is of many, and whether it may be left out."""
    if isinstance(kind, list):
        others = [one for one in kind if one != "null"]
        found, many, _ = _kind(others[0]) if len(others) == 1 else ("Thing", False, False)
        return found, many, "null" in kind
    if isinstance(kind, Mapping):
        if kind.get("type") == "array":
            return _kind(kind.get("items"))[0], True, False
        return _kind(kind.get("type"))
    return _KINDS.get(str(kind), "Thing"), False, False


def _format(key: str) -> str:
    return "application/cwl" if key.endswith((".cwl", ".yml", ".yaml")) else "application/octet-stream"
