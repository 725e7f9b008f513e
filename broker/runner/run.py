"""What is the same for all steps of one run: the job, its report, and how its tools are isolated."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Mapping
from pathlib import Path

from cwltool.errors import UnsupportedRequirement, WorkflowException

from broker.runner import advice, isolation, rootfs
from broker.runner.cgroups import Bounds
from broker.runner.elsewhere import Elsewhere
from broker.runner.failures import NO_IMAGE
from broker.runner.isolation import Isolation, Software
from broker.runner.jobdir import JobDir
from broker.runner.replays import Replays
from broker.runner.report import Report


class Run:
    """One run. `images` maps each image that is here to its digest (what `keeper` found or fetched), `missing` each
    other one to what the container engine said of it. `runs` maps each image that is here to what is started for it:
    its id, which no later pull can make another image.

    `inplace`: whether tools may change their inputs in their place, which are nobody else's then.
    `image_files`: where the images of an engine are that keeps none itself.
    """

    def __init__(
        self,
        job: JobDir,
        report: Report,
        how: Isolation,
        software: Software,
        *,
        network: bool,
        inplace: bool,
        bounds: Bounds,
        offline: bool,
        images: Mapping[str, str],
        runs: Mapping[str, str],
        missing: Mapping[str, str],
        image_files: Path,
        scatter_width: int | None,
        most_files: int,
        log: logging.Logger,
    ) -> None:
        self.job = job
        self.report = report
        self.isolation = how
        self.software = software
        self.network = network
        self.inplace = inplace
        self.bounds = bounds
        self.offline = offline
        self.images = images
        self.runs = runs
        self.missing = missing
        self.image_files = image_files
        self.scatter_width = scatter_width
        self.most_files = most_files
        self.log = log
        self._sandbox: dict[bool, tuple[tuple[str, ...], tuple[str, ...]]] = {}
        self._containers = 0
        self._asked = -1.0
        self._own_rss = 0
        self.sources: dict[str, str] = {}  # output file -> what it was before it was brought together with the others
        self.replays: Replays | None = None  # where steps may have the results of earlier ones
        self.elsewhere: Elsewhere | None = None  # steps of other platforms
        self.without: dict[str, str] = {}  # image -> warning that tools run without it

    def kind(self, image: str | None, *, required: bool) -> str:
        """container, bubblewrap or process for a tool with that image; raises WorkflowException for none."""
        if image is not None:
            if self.isolation.engine and image in self.images:
                return "container"
            said = self.missing.get(image)
            why = "could not be fetched" + (f" ({said})" if said else "")
            remedy = advice.fetching(said or "")
            if not self.isolation.engine:
                why, remedy = "could not be used (no container engine is there)", f"{isolation.INSTALL_ENGINE}."
            if required:
                raise WorkflowException(f"{NO_IMAGE} {image}, which {why}. {remedy}")
            if image not in self.without:
                self.without[image] = f"The image {image} is only a hint and {why}: the step ran without it. {remedy}"
                self.log.warning(self.without[image])
        if self.isolation.tools in ("bubblewrap", "process"):
            return self.isolation.tools
        raise UnsupportedRequirement("This platform runs tools in containers only, and a step names no image.")

    def sandbox(self, *, network: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The arguments of bwrap that all tools share: before those of the step's own directories, and after."""
        if network not in self._sandbox:
            root = self.job.work / f"root{int(network)}"
            directories = self.software.directories
            # A container engine must not be started where its mounts are seen by nobody else.
            if not self.images and rootfs.make(root, directories, network=network):
                first = isolation.bubblewrap_rootfs(root, network=network, offline=self.offline)
                last = isolation.bubblewrap_end(one for one in directories if rootfs.of_steps(one))
            else:
                accounts = self.job.work / "accounts"
                accounts.mkdir(exist_ok=True)
                isolation.write_accounts(accounts)
                first = isolation.bubblewrap_base(accounts, network=network, offline=self.offline)
                last = [*isolation.bubblewrap_end(directories), "--remount-ro", "/"]
            self._sandbox[network] = tuple(first), tuple(last)
        return self._sandbox[network]

    def own_rss(self) -> int:
        """The most memory this process has had, in KiB, as of a second ago (asking costs)."""
        now = time.monotonic()
        if now - self._asked >= 1.0:
            self._asked = now
            self._own_rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return self._own_rss

    def container_name(self) -> str:
        """A new container's name, written down before it is used: whoever cleans up finds it."""
        self._containers += 1
        name = f"{self.job.name}.{self._containers}"
        self.job.containers.mkdir(exist_ok=True)
        (self.job.containers / name).touch()
        return name
