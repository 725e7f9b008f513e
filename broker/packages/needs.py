"""What a resolved package asks of a platform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.jobs.model import Needs
from broker.packages import openeo
from broker.packages.describe import EARTHCODE

PLATFORM = EARTHCODE + "Platform"  # a hint {platform: name}: the one where a step is to run
OPENEO = "openEO"  # where a tool names no platform, but an openEO process: any that runs those
CUDA = "http://commonwl.org/cwltool#CUDARequirement"


@dataclass(frozen=True, slots=True)
class Part:
    """A process with the requirements and hints in force for it (those of the workflows around it included).

    `name` is the step's name, nested ones as `outer/inner`; "" for the package itself.
    """

    name: str
    kind: str
    requirements: Sequence[Mapping[str, Any]] = ()
    hints: Sequence[Mapping[str, Any]] = ()
    parts: tuple[Part, ...] = ()

    def walk(self) -> Iterator[Part]:
        yield self
        for part in self.parts:
            yield from part.walk()

    def find(self, *names: str) -> tuple[Mapping[str, Any] | None, bool]:
        """The requirement in force, else the hint; the latter entry wins. True for a requirement."""
        for entries, required in ((self.requirements, True), (self.hints, False)):
            for entry in reversed(entries):
                if entry.get("class") in names:
                    return entry, required
        return None, False


def platform_of(part: Part) -> str | None:
    """Where a tool is to run, if not where its workflow does: the name of a platform, or "" for any that runs openEO
    processes."""
    hint, _ = part.find(PLATFORM)
    if hint is not None:
        return str(hint.get("platform"))
    return "" if part.find(openeo.HINT)[0] is not None else None


def short(name: str) -> str:
    """A requirement's class name without its namespace: `CUDARequirement`."""
    return name.rpartition("#")[2]


def _amount(entry: Mapping[str, Any], name: str, default: float) -> float:
    """A resource: its minimum, else its maximum, else the default, also where it is an expression."""
    for key in (f"{name}Min", f"{name}Max"):
        value = entry.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**40:
            return float(value)
    return default


def needs(package: Part) -> Needs:
    """The largest resources of any one tool, and the union of features and images, but not of steps that are to run
    elsewhere; of a tool that is an openEO process, that."""
    if package.kind == "CommandLineTool" and package.find(openeo.HINT)[0] is not None:
        return Needs(openeo.KIND, 0.0, 0)
    cores, ram, tmp, out = 0.0, 0.0, 0.0, 0.0
    features: set[str] = set()
    images: dict[str, bool] = {}
    network = gpu = False
    limits: list[float] = []
    reusable = True
    elsewhere: set[str] = set()
    images_elsewhere: set[str] = set()
    for part in package.walk():
        where = platform_of(part) if part.kind == "CommandLineTool" else None
        if where is not None:
            elsewhere.add(where or OPENEO)
            docker, _ = part.find("DockerRequirement")
            images_elsewhere.update(one for one in [(docker or {}).get("dockerPull")] if isinstance(one, str))
            continue
        features.update(short(str(entry.get("class"))) for entry in part.requirements)
        if part.kind != "CommandLineTool":
            continue
        resources, _ = part.find("ResourceRequirement")
        cores = max(cores, _amount(resources or {}, "cores", 1))
        ram = max(ram, _amount(resources or {}, "ram", 256))
        tmp = max(tmp, _amount(resources or {}, "tmpdir", 0))
        out = max(out, _amount(resources or {}, "outdir", 0))
        docker, required = part.find("DockerRequirement")
        image = (docker or {}).get("dockerPull") or (docker or {}).get("dockerImageId")
        if isinstance(image, str):
            images[image] = images.get(image, False) or required
        access, required = part.find("NetworkAccess")
        if access and required and access.get("networkAccess") not in (False, None):
            network = True  # an expression may give true
        reuse, _ = part.find("WorkReuse")
        reusable = reusable and (reuse is None or reuse.get("enableReuse") is True)  # an expression may give false
        cuda, required = part.find(CUDA, "cwltool:CUDARequirement")
        gpu = gpu or (cuda is not None and required)
        limit, _ = part.find("ToolTimeLimit")
        seconds = (limit or {}).get("timelimit")
        if isinstance(seconds, int | float) and seconds > 0:
            limits.append(float(seconds))
    return Needs(
        kind="cwl",
        cores=cores or 1.0,
        ram_mib=int(ram + 0.999) or 256,
        tmp_mib=int(tmp + 0.999),
        out_mib=int(out + 0.999),
        features=frozenset(features),
        images=images,
        network=network,
        gpu=gpu,
        time_limit=max(limits) if limits else None,
        reusable=reusable,
        elsewhere=frozenset(elsewhere),
        images_elsewhere=frozenset(images_elsewhere),
    )
