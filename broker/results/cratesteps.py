"""The steps of a run as entities of its crate: each run, what controlled it, its tool, image and resources."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from broker.results.crategraph import WFRUN, Graph, package_path, ref, refs, status, time

UNITS = "http://qudt.org/vocab/unit/"


class Steps:
    """`main`: the workflow; `files`: path of the record -> entity, which grows by what lies between steps."""

    def __init__(
        self,
        graph: Graph,
        bundle: Mapping[str, Any],
        known: Iterable[str],
        main: str,
        files: dict[str, str],
        person: str,
    ) -> None:
        self.graph, self.bundle, self.known, self.main, self.files = graph, bundle, tuple(known), main, files
        self.person = person

    def add(self, ran: Sequence[Mapping[str, Any]]) -> list[str]:
        """The steps that ran; gives what controlled them."""
        tools = [self.tool(step) for step in ran]
        self.graph[self.main]["hasPart"] = refs(tools)
        controls = [
            self.step(number, step, tool) for number, (step, tool) in enumerate(zip(ran, tools, strict=True), 1)
        ]
        steps = dict.fromkeys(self.graph[control]["instrument"]["@id"] for control in controls)
        for position, name in enumerate(steps, 1):
            self.graph[name]["position"] = str(position)
        self.graph[self.main]["step"] = refs(steps)
        return controls

    def between(self, path: str) -> str:
        """A file that a step read or wrote; one that was not kept is named, not pointed at."""
        if path not in self.files:
            text = "A file between steps, which was not kept."
            self.files[path] = self.graph.add(
                f"#{quote(path)}", "CreativeWork", name=path.rpartition("/")[2], description=text
            )
        return self.files[path]

    def tool(self, step: Mapping[str, Any]) -> str:
        document, _, fragment = str(step.get("tool") or "").partition("#")
        known = document in self.bundle["documents"]
        base = quote(package_path(document)) if known else self.main
        name = f"{base}#{quote(fragment or _plain(step['name']))}"
        return self.graph.add(name, "SoftwareApplication", name=fragment or _plain(step["name"]))

    def step(self, number: int, step: Mapping[str, Any], tool: str) -> str:
        """A step's run, and what controlled it; gives the latter."""
        plain = _plain(step["name"], self.known)
        how = f"{self.main}#step-{quote(plain)}"
        if how not in self.graph:
            self.graph.add(how, "HowToStep", name=plain, workExample=ref(tool))
        image = self.image(step)
        failed = step.get("status") == "failed"
        run = self.graph.add(
            f"#step-run-{number}",
            "CreateAction",
            name=f"Run of {step['name']}",
            description=" ".join(step.get("command") or ()),
            startTime=time(step.get("start")),
            endTime=time(step.get("end")),
            agent=ref(self.person),
            instrument=ref(tool),
            object=refs(self.between(path) for path in step.get("inputs") or ()),
            result=refs(self.between(path) for path in step.get("outputs") or ()),
            actionStatus=status(str(step.get("status"))),
            error=f"Exit code {step.get('exitCode')}." if failed else None,
            containerImage=ref(image) if image else None,
            resourceUsage=refs(self.usage(number, step)),
        )
        control = {"instrument": ref(how), "object": ref(run)}
        return self.graph.add(f"#control-{number}", "ControlAction", name=f"Control of {step['name']}", **control)

    def image(self, step: Mapping[str, Any]) -> str | None:
        image, digest = step.get("image"), step.get("imageDigest")
        if not image:
            return None
        plain = str(digest).removeprefix("sha256:") if digest else None
        kind = ref(WFRUN + "DockerImage")
        return self.graph.add(
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
                yield self.graph.add(f"#step-run-{number}-{name}", "PropertyValue", name=name, **about)


def _plain(name: str, known: Iterable[str] = ()) -> str:
    """The step of the package that a run of a scatter (`step_2`) is one of."""
    known = set(known)
    stem = re.sub(r"_\d+$", "", name)
    return stem if name not in known and (stem in known or not known) else name
