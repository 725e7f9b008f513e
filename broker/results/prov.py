"""A record of provenance as a PROV document (W3C PROV-DM), in each of its notations.

The notations come from the `prov` library; what one does not need is not imported for it (RDF costs half a second).
"""

from __future__ import annotations

import io
import json
import re
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from prov.constants import PROV_TYPE, XSD_LONG
from prov.identifier import QualifiedName
from prov.model import PROV, Literal, ProvDocument

from broker.jobs.record import known

# notation -> (module of prov, its class, arguments)
_WRITERS: dict[str, tuple[str, str, dict[str, str]]] = {
    "json": ("prov.serializers.provjson", "ProvJSONSerializer", {}),
    "provn": ("prov.serializers.provn", "ProvNSerializer", {}),
    "xml": ("prov.serializers.provxml", "ProvXMLSerializer", {}),
    "jsonld": ("prov.serializers.provrdf", "ProvRDFSerializer", {"rdf_format": "json-ld"}),
    "ttl": ("prov.serializers.provrdf", "ProvRDFSerializer", {"rdf_format": "turtle"}),
    "nt": ("prov.serializers.provrdf", "ProvRDFSerializer", {"rdf_format": "nt"}),
}
TERMS = "urn:earthcode-broker:terms:"
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def written(record: Mapping[str, Any], notation: str) -> bytes:
    """The record in a notation: json, provn, xml, jsonld, ttl, nt."""
    module, name, arguments = _WRITERS[notation]
    writer = getattr(import_module(module), name)(document(record))
    binary = notation not in ("json", "provn")
    stream: Any = io.BytesIO() if binary else io.StringIO()
    with warnings.catch_warnings():  # of what `prov` uses of newer rdflibs; nothing that a reader here could mend
        warnings.simplefilter("ignore")
        writer.serialize(stream, **arguments)
    found = stream.getvalue()
    return found if isinstance(found, bytes) else found.encode()


def document(record: Mapping[str, Any]) -> ProvDocument:
    """The record as a PROV document; each thing has a plain name of its own (`run:step.3`), valid in every notation."""
    made = _Document(record)
    made.fill()
    return made.prov


def plain(value: Any) -> Any:
    """A value that every notation can hold: other values become JSON, characters that XML forbids become ?."""
    if isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**31 else Literal(str(value), XSD_LONG)  # an int is an xsd:int
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _NO_XML.sub("?", text)


class _Document:
    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = record
        self.prov = ProvDocument()
        self.run = self.prov.add_namespace("run", f"urn:uuid:{record['job']['id']}#")
        self.job_ids = self.prov.add_namespace("job", "urn:uuid:")
        self.terms = self.prov.add_namespace("broker", TERMS)
        self.files: dict[str, QualifiedName] = {}

    def said(self, **values: Any) -> dict[Any, Any]:
        """Attributes in our own terms; what is not known is left out."""
        return {self.terms[name]: plain(value) for name, value in known(values).items()}

    def fill(self) -> None:
        job = self.record["job"]
        self.job = self.run["job"]
        about = self.said(phase=job["phase"], attempts=job.get("attempts"), title=job.get("title"))
        failure = self.record.get("failure") or {}
        about |= self.said(fault=failure.get("fault"), reason=failure.get("reason"), message=failure.get("message"))
        kind = {PROV_TYPE: self.terms["Job"]}
        self.prov.activity(self.job, job.get("started") or job.get("created"), job.get("finished"), kind | about)
        self.agents()
        for number, entries in enumerate(self.record["inputs"].items(), 1):
            self.input(number, *entries)
        for number, (name, found) in enumerate(self.record["outputs"].items(), 1):
            self.output(number, name, found)
        for number, step in enumerate(self.record["steps"], 1):
            self.step(number, step)
        if job.get("parent"):
            self.prov.wasInformedBy(self.job, self.job_ids[job["parent"]])
        if isinstance(reused := self.record.get("reused"), Mapping) and reused.get("job"):
            self.prov.wasInfluencedBy(self.job, self.job_ids[reused["job"]])
        if isinstance(there := self.record.get("delegated"), Mapping):
            self.delegated(there)
        for child in self.record.get("children") or ():
            self.child(child)
        if isinstance(first := self.record.get("reproduces"), Mapping):
            self.reproduces(first)

    def child(self, child: Mapping[str, Any]) -> None:
        """A job that ran a step on another platform, which has a record of its own."""
        there, platform = child.get("delegated") or {}, child.get("platform") or {}
        about = {"step": child["step"], "phase": child["phase"], "recordDigest": child.get("record")}
        about |= {"platform": platform.get("name"), "packageDigest": (child.get("package") or {}).get("digest")}
        about |= {name: there.get(name) for name in ("kind", "server", "version", "costs", "provenanceHref")}
        about["remoteJob"] = there.get("job") or there.get("jobId")
        kind = {PROV_TYPE: self.terms["Job"]}
        name = self.job_ids[child["job"]]
        self.prov.activity(name, None, None, kind | self.said(**about))
        self.prov.wasStartedBy(name, starter=self.job)
        self.prov.wasInformedBy(self.job, name)

    def delegated(self, there: Mapping[str, Any]) -> None:
        """The work that another server did, and where its own provenance is."""
        about = {name: there.get(name) for name in ("kind", "server", "version", "costs", "provenanceHref")}
        about["remoteJob"] = there.get("job") or there.get("jobId")
        elsewhere = self.prov.activity(self.run["elsewhere"], None, None, self.said(**about))
        self.prov.wasInformedBy(self.job, elsewhere)

    def reproduces(self, first: Mapping[str, Any]) -> None:
        """The job whose run is done again, or the published experiment, which the package was taken from."""
        if first.get("job"):
            self.prov.wasInfluencedBy(self.job, self.job_ids[first["job"]])
            return
        about = {name: first.get(name) for name in ("name", "title", "href", "workflow", "digest")}
        experiment = self.prov.entity(
            self.run["experiment"], {PROV_TYPE: self.terms["Experiment"]} | self.said(**about)
        )
        self.prov.wasDerivedFrom(self.plan, experiment)
        self.prov.used(self.job, experiment)

    def agents(self) -> None:
        record = self.record
        process, who, platform = record["process"], record["agent"], record["platform"]
        self.plan = self.run["package"]
        about = {name: process.get(name) for name in ("id", "version", "revision", "digest", "mediaType")}
        source = process.get("source") or {}
        about |= {name: source.get(name) for name in ("repository", "commit", "license")}
        kinds = {PROV_TYPE: PROV["Plan"], "prov:label": str(process.get("title") or process["id"])}
        submitted = self.said(**about, submittedDigest=process.get("submitted_digest"))
        self.prov.entity(self.plan, kinds | submitted)
        person, broker, place = self.run["agent"], self.run["broker"], self.run["platform"]
        about = {name: who.get(name) for name in ("person", "issuer", "subject", "name", "orcid", "project")}
        self.prov.agent(person, {PROV_TYPE: PROV["Person"]} | self.said(**about))
        software = {PROV_TYPE: PROV["SoftwareAgent"]}
        self.prov.agent(broker, software | self.said(name="earthcode-broker", version=record["broker"]["version"]))
        engine = record.get("engine") or {}
        about = {name: platform.get(name) for name in ("name", "adapter", "node", "isolation", "containerEngine")}
        about |= {"engine": engine.get("name"), "engineVersion": engine.get("version")}
        about |= {"placementRule": platform.get("rule"), "placement": platform.get("why")}
        about |= {"ownAccountOf": platform.get("account")}
        self.prov.agent(place, software | self.said(**about))
        self.prov.wasAssociatedWith(self.job, person, self.plan)
        self.prov.wasAssociatedWith(self.job, place, self.plan)
        self.prov.actedOnBehalfOf(place, broker, self.job)
        self.prov.actedOnBehalfOf(broker, person, self.job)
        if who.get("delegate"):
            delegate = self.run["delegate"]
            self.prov.agent(delegate, software | self.said(name=who["delegate"]))
            self.prov.actedOnBehalfOf(delegate, person, self.job)

    def input(self, number: int, name: str, found: Any) -> None:
        if isinstance(found, Mapping):
            entity = self.prov.entity(self.run[f"input.{number}"], self.said(input=name, value=found["value"]))
            self.prov.used(self.job, entity)
            return
        for place, file in enumerate(found, 1):
            entity = self.file(self.run[f"input.{number}.{place}"], file, input=name)
            self.prov.used(self.job, entity)

    def file(self, name: QualifiedName, file: Mapping[str, Any], **more: Any) -> QualifiedName:
        about = {key: file.get(key) for key in ("path", "sha256", "size", "mediaType", "location")}
        ids = file.get("stacId")
        item = ids if isinstance(ids, str) else " ".join(ids) if ids else None
        self.prov.entity(name, {PROV_TYPE: self.terms["File"]} | self.said(**about, stacId=item, **more))
        for path in filter(None, (file.get("path"), file.get("source"))):
            self.files[path] = name
        return name

    def output(self, number: int, name: str, found: Any) -> None:
        entries = [found] if isinstance(found, Mapping) else found
        for place, one in enumerate(entries, 1):
            entity = self.run[f"output.{number}.{place}"]
            if "value" in one:
                self.prov.entity(entity, self.said(output=name, value=one["value"]))
            else:
                self.file(entity, one, output=name)
            self.prov.wasGeneratedBy(entity, self.job)

    def between(self, path: str) -> QualifiedName:
        """A file that a step read or wrote, which may be an input or output of the job."""
        if path not in self.files:
            self.file(self.run[f"file.{len(self.files) + 1}"], {"path": path})
        return self.files[path]

    def step(self, number: int, step: Mapping[str, Any]) -> None:
        name = self.run[f"step.{number}"]
        measured, asked = step.get("measured") or {}, step.get("requested") or {}
        about = {key: step.get(key) for key in ("tool", "status", "exitCode", "image", "imageDigest", "node")}
        about |= {"command": " ".join(step.get("command") or ()), "cacheHit": step.get("cacheHit")}
        about |= {"cpuSeconds": measured.get("cpu"), "maxRssMiB": measured.get("rss")}
        about |= {"requestedCores": asked.get("cores"), "requestedRamMiB": asked.get("ram")}
        kind = {PROV_TYPE: self.terms["Step"], "prov:label": step["name"]}
        self.prov.activity(name, step.get("start"), step.get("end"), kind | self.said(**about))
        self.prov.wasStartedBy(name, starter=self.job)
        self.prov.wasAssociatedWith(name, self.run["platform"], self.plan)
        if step.get("reused"):
            self.prov.wasInfluencedBy(name, self.job_ids[step["reused"]])
        for path in step.get("inputs") or ():
            self.prov.used(name, self.between(path))
        for path in step.get("outputs") or ():
            self.prov.wasGeneratedBy(self.between(path), name)
