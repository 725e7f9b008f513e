"""Input files in the account's workspace at a back-end (`PUT /files/{path}`): sent for one attempt, deleted with it.

For processes that read files which were uploaded (`load_uploaded_files`), and where the back-end cannot fetch an input.
Names are a function of the attempt and the input, without directories (not all back-ends have those), so that sending
again puts the same file in its place, and what a broker that died has sent is found again.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Collection
from urllib.parse import quote

from adapters.openeo import graph, inputs
from adapters.openeo.api import Api
from broker.errors import PlatformRefused
from broker.jobs.model import JobSpec, StageItem
from broker.packages.openeo import KIND
from broker.packages.openeotool import called
from broker.platform import Attempt

FILE = "/files/{path}"
_ODD = re.compile(r"[^\w.-]+", re.ASCII)


def wanted(spec: JobSpec) -> list[StageItem]:
    """The inputs of a job that its process reads from the workspace."""
    if spec.needs.kind != KIND:
        return []
    process, order, _ = called(spec.bundle, spec.job_order)
    places = graph.uploads(process, order)
    return [item for item in spec.stage if f"inputs/{item.path}" in places]


def name(attempt: str, item: StageItem) -> str:
    """Where an input of an attempt is in the workspace."""
    return f"{attempt}.{_ODD.sub('_', item.path)}"


class Workspace:
    """The files of one account."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def put(self, spec: JobSpec, items: Collection[StageItem]) -> dict[str, str]:
        """Send these inputs: location -> name there. Raises PlatformRefused, PlatformUnavailable."""
        if items and not self.api.offers(FILE, "PUT"):
            raise PlatformRefused("The platform takes no files (PUT /files), and an input is one.", code="no-platform")
        most = self.api.settings.upload_mib * 2**20
        for item in items:
            with tempfile.TemporaryFile() as file:  # whose size is known before it is sent
                inputs.copy(item, file, self.api.egress, spec.secrets.http, most)
                file.seek(0)
                self.api.call("PUT", _path(name(spec.name, item)), file)
        return {f"inputs/{item.path}": name(spec.name, item) for item in items}

    def remove(self, attempt: Attempt) -> None:
        """Delete what was sent for an attempt; of one whose handle was never saved, whatever has its name."""
        if attempt.handle is not None:
            names = list(attempt.handle.get("files") or ())
        elif self.api.offers("/files") and self.api.offers(FILE, "DELETE"):
            there = (str(one.get("path")).removeprefix("/") for one in self.api.listed("/files", "files"))
            names = [one for one in there if one.startswith(f"{attempt.name}.")]
        else:
            names = []
        self.delete(names)

    def delete(self, names: Collection[str]) -> None:
        for one in names:
            try:
                self.api.call("DELETE", _path(one))
            except PlatformRefused:
                continue  # it is there no more


def _path(file: str) -> str:
    return f"/files/{quote(file, safe='')}"
