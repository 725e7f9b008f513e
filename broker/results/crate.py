"""The Provenance Run Crate of a job: RO-Crate 1.1 metadata of its record, package, inputs, steps and outputs.

Profiles: Process, Workflow and Provenance Run Crate 0.5, Workflow RO-Crate 1.0 (https://w3id.org/ro/wfrun). A job of
which no step ran is a Workflow Run Crate only. Terms that RO-Crate's own context lacks are defined in the document, so
that a reader needs that one context. Data stays where it is: files are web addresses, the package lies in the crate.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from broker.packages.keys import unpacked

CONTEXT = "https://w3id.org/ro/crate/1.1/context"
WFRUN = "https://w3id.org/ro/terms/workflow-run#"
TERMS = {
    name: WFRUN + name for name in ("containerImage", "ContainerImage", "resourceUsage", "sha256", "tag", "DockerImage")
}
PROFILES = {
    "process": ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
    "workflow": ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
    "provenance": ("https://w3id.org/ro/wfrun/provenance/0.5", "Provenance Run Crate", "0.5"),
    "workflow-ro-crate": ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
}
CWL = "https://w3id.org/workflowhub/workflow-ro-crate#cwl"
UNITS = "http://qudt.org/vocab/unit/"
WORKFLOW = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
PARAMETER = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
PACKAGE = "package"  # directory of the crate where the package lies
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
_STATUS = {"successful": "CompletedActionStatus", "replayed": "CompletedActionStatus"}
Entity = dict[str, Any]


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
    return {"@context": [CONTEXT, TERMS], "@graph": [_single(entity) for entity in made.graph.values()]}


def package_path(key: str) -> str:
    """Where a document or file of a package lies in the crate."""
    return f"{PACKAGE}/{unpacked(key)}"


def ref(name: str) -> dict[str, str]:
    return {"@id": name}


def refs(names: Iterable[str]) -> list[dict[str, str]]:
    return [ref(name) for name in dict.fromkeys(names)]


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
        self.graph: dict[str, Entity] = {}
        self.files: dict[str, str] = {}  # path of the record -> entity
        self.parts: list[str] = []
        self.document = str(bundle["entry"]).partition("#")[0]
        self.main = quote(package_path(self.document))
        self.steps = [step for step in record["steps"] if step.get("start")]

    def add(self, entity: str, kind: str | list[str], /, **values: Any) -> str:
        """An entity; what is None, empty or no list of anything is left out."""
        full = {key: value for key, value in values.items() if value not in (None, "", [])}
        self.graph[entity] = {"@id": entity, "@type": kind, **full}
        return entity

    def fill(self) -> None:
        wanted = ["process", "workflow", *(["provenance"] if self.steps else []), "workflow-ro-crate"]
        profiles = [PROFILES[name] for name in wanted]
        job, process = self.record["job"], self.record["process"]
        title = job.get("title") or process.get("title") or process["id"]
        source = process.get("source") or {}
        self.add("ro-crate-metadata.json", "CreativeWork", about=ref("./"))
        self.graph["ro-crate-metadata.json"]["conformsTo"] = refs(
            ["https://w3id.org/ro/crate/1.1", PROFILES["workflow-ro-crate"][0]]
        )
        self.add(
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
            self.add(address, "CreativeWork", name=name, version=number)
        self.package()
        self.agents()
        inputs = list(self.inputs())
        outputs = list(self.outputs())
        self.run(inputs, outputs)
        for path, (kind, name) in RECORDS.items():
            self.parts.append(self.add(path, "File", name=name, encodingFormat=kind))
        self.graph["./"] |= {"mainEntity": ref(self.main), "hasPart": refs(self.parts)}
        self.graph["./"]["mentions"] = refs(name for name, one in self.graph.items() if _is_action(one))

    def license(self, known: str | None) -> Any:
        if not known:
            return UNKNOWN_LICENSE
        address = known if known.startswith(("http://", "https://")) else f"https://spdx.org/licenses/{quote(known)}"
        return ref(self.add(address, "CreativeWork", name=known))

    def package(self) -> None:
        process = self.record["process"]
        source = process.get("source") or {}
        for key in (*self.bundle["documents"], *self.bundle.get("files", {})):
            path = quote(package_path(key))
            if path != self.main and not key.endswith("/"):
                self.parts.append(self.add(path, "File", name=key, encodingFormat=_format(key)))
        self.parts.append(self.main)
        self.add(
            CWL,
            "ComputerLanguage",
            name="Common Workflow Language",
            alternateName="CWL",
            identifier=ref("https://w3id.org/cwl/"),
            url=ref("https://www.commonwl.org/"),
        )
        written = [self.author(one) for one in source.get("authors") or ()]
        self.add(
            self.main,
            ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"],
            name=process.get("title") or process["id"],
            version=process.get("version"),
            conformsTo=ref(WORKFLOW),
            programmingLanguage=ref(CWL),
            encodingFormat="application/cwl",
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
        return self.add(name, "Person", name=one["name"])

    def parameter(self, side: str, one: Mapping[str, Any]) -> str:
        kind, many, optional = _kind(one.get("type"))
        return self.add(
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
        self.person = self.add(person, "Person", name=who.get("name") or who.get("person"), **about)
        self.engine = self.add(
            "#engine",
            "SoftwareApplication",
            name=engine.get("name") or "unknown",
            softwareVersion=engine.get("version"),
            url="https://www.commonwl.org/" if engine.get("name") == "cwltool" else None,
        )
        self.graph["./"]["author"] = ref(self.person)
        self.add("#broker", "SoftwareApplication", name="earthcode-broker", softwareVersion=broker["version"])

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
        return self.add(f"#{side}-value-{quote(name)}", "PropertyValue", name=name, value=text, exampleOfWork=example)

    def example(self, side: str, name: str, entity: str) -> Any:
        """The parameter that an entity is an example of, which then says so too."""
        parameter = self.graph.get(f"#{side}-{quote(name)}")
        if parameter is None:
            return None
        parameter.setdefault("workExample", []).append(ref(entity))
        return ref(parameter["@id"])

    def file(self, address: str, one: Mapping[str, Any], side: str, name: str, files: Any = None) -> str:
        self.add(
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

    def between(self, path: str) -> str:
        """A file that a step read or wrote; one that was not kept is named, not pointed at."""
        if path not in self.files:
            text = "A file between steps, which was not kept."
            self.files[path] = self.add(
                f"#{quote(path)}", "CreativeWork", name=path.rpartition("/")[2], description=text
            )
        return self.files[path]

    def run(self, inputs: list[str], outputs: list[str]) -> None:
        job = self.record["job"]
        failure = self.record.get("failure") or {}
        error = failure.get("message") or ("The job was dismissed." if job["phase"] == "dismissed" else None)
        action = self.add(
            f"#run-{job['id']}",
            "CreateAction",
            name=f"Run of {self.graph[self.main]['name']}",
            description=self.graph["./"]["description"],
            startTime=_time(job.get("started")),
            endTime=_time(job.get("finished")),
            agent=ref(self.person),
            instrument=ref(self.main),
            object=refs(inputs),
            result=refs(outputs),
            actionStatus=_status(job["phase"]),
            error=error,
        )
        if not self.steps:
            return
        tools = [self.tool(step) for step in self.steps]
        self.graph[self.main]["hasPart"] = refs(tools)
        controls = [
            self.step(number, step, tool) for number, (step, tool) in enumerate(zip(self.steps, tools, strict=True), 1)
        ]
        steps = dict.fromkeys(self.graph[control]["instrument"]["@id"] for control in controls)
        for position, name in enumerate(steps, 1):
            self.graph[name]["position"] = str(position)
        self.graph[self.main]["step"] = refs(steps)
        self.add(
            "#organize",
            "OrganizeAction",
            name=f"{self.graph[self.engine]['name']} on {self.record['platform']['name']}",
            instrument=ref(self.engine),
            object=refs(controls),
            result=ref(action),
            agent=ref("#broker"),
            startTime=_time(job.get("started")),
            endTime=_time(job.get("finished")),
        )

    def tool(self, step: Mapping[str, Any]) -> str:
        document, _, fragment = str(step.get("tool") or "").partition("#")
        known = document in self.bundle["documents"]
        base = quote(package_path(document)) if known else self.main
        name = f"{base}#{quote(fragment or _plain(step['name']))}"
        return self.add(name, "SoftwareApplication", name=fragment or _plain(step["name"]))

    def step(self, number: int, step: Mapping[str, Any], tool: str) -> str:
        """A step's run, and what controlled it; gives the latter."""
        plain = _plain(step["name"], self.inspection.get("steps") or ())
        how = f"{self.main}#step-{quote(plain)}"
        if how not in self.graph:
            self.add(how, "HowToStep", name=plain, workExample=ref(tool))
        image = self.image(step)
        failed = step.get("status") == "failed"
        run = self.add(
            f"#step-run-{number}",
            "CreateAction",
            name=f"Run of {step['name']}",
            description=" ".join(step.get("command") or ()),
            startTime=_time(step.get("start")),
            endTime=_time(step.get("end")),
            agent=ref(self.person),
            instrument=ref(tool),
            object=refs(self.between(path) for path in step.get("inputs") or ()),
            result=refs(self.between(path) for path in step.get("outputs") or ()),
            actionStatus=_status(str(step.get("status"))),
            error=f"Exit code {step.get('exitCode')}." if failed else None,
            containerImage=ref(image) if image else None,
            resourceUsage=refs(self.usage(number, step)),
        )
        control = {"instrument": ref(how), "object": ref(run)}
        return self.add(f"#control-{number}", "ControlAction", name=f"Control of {step['name']}", **control)

    def image(self, step: Mapping[str, Any]) -> str | None:
        image, digest = step.get("image"), step.get("imageDigest")
        if not image:
            return None
        plain = str(digest).removeprefix("sha256:") if digest else None
        kind = ref(WFRUN + "DockerImage")
        return self.add(
            f"#image-{quote(image, safe='')}", "ContainerImage", name=image, sha256=plain, additionalType=kind
        )

    def usage(self, number: int, step: Mapping[str, Any]) -> Iterator[str]:
        measured, asked = step.get("measured") or {}, step.get("requested") or {}
        values = (
            ("cpu", measured.get("cpu"), "SEC"),
            ("rss", measured.get("rss"), "MebiBYTE"),
            ("cores", asked.get("cores"), "NUM"),
            ("ram", asked.get("ram"), "MebiBYTE"),
        )
        for name, value, unit in values:
            if value is not None:
                about = {
                    "propertyID": f"urn:earthcode-broker:terms:{name}",
                    "value": str(value),
                    "unitCode": UNITS + unit,
                }
                yield self.add(f"#step-run-{number}-{name}", "PropertyValue", name=name, **about)


def _single(entity: Entity) -> Entity:
    """Lists of one as that one, as RO-Crate wants it; but lists of what the crate has stay lists."""
    return {
        key: value[0] if isinstance(value, list) and len(value) == 1 and key != "hasPart" else value
        for key, value in entity.items()
    }


def _is_action(entity: Entity) -> bool:
    return entity["@type"] in ("CreateAction", "OrganizeAction")


def _status(status: str) -> str:
    return "http://schema.org/" + _STATUS.get(status, "FailedActionStatus")


def _time(moment: str | None) -> str | None:
    """As the profiles want it: with a numeric offset."""
    return moment.replace("Z", "+00:00") if moment else None


def _plain(name: str, known: Iterable[str] = ()) -> str:
    """The step of the package that a run of a scatter (`step_2`) is one of."""
    known = set(known)
    stem = re.sub(r"_\d+$", "", name)
    return stem if name not in known and (stem in known or not known) else name


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
