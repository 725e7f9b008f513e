"""Processes of the pygeoapi peer: what pygeoapi needs of a processor, and nothing of pygeoapi (it is not in our own
environment)."""

from __future__ import annotations

import base64
import os
import random
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


class Processor:
    """What pygeoapi calls. `metadata`: the process description."""

    supports_outputs = False
    metadata: dict[str, Any]

    def __init__(self, definition: dict[str, Any]) -> None:
        self.name = definition["name"]

    def set_job_id(self, job_id: str) -> None:
        self.job_id = job_id

    def ran(self) -> None:
        """Leave a trace of this run."""
        with (Path(os.environ["PEER_FOLDER"]) / "runs.txt").open("a") as runs:
            runs.write(f"{self.metadata['id']} {self.job_id}\n")


def described(name: str, inputs: dict[str, Any], outputs: dict[str, Any], *modes: str) -> dict[str, Any]:
    return {
        "id": name,
        "version": "1.2.0",
        "title": {"en": f"The process {name}"},
        "description": f"For tests: {name}.",
        "jobControlOptions": list(modes or ("sync-execute", "async-execute")),
        "keywords": ["test"],
        "inputs": inputs,
        "outputs": outputs,
    }


class Several(Processor):
    """Several outputs, keyed as the standard has it; what it was given comes back."""

    metadata = described(
        "several",
        {
            "number": {"schema": {"type": "number", "minimum": 0}, "minOccurs": 1, "maxOccurs": 1},
            "names": {"schema": {"type": "string"}, "minOccurs": 0, "maxOccurs": 3},
            "where": {"schema": {"type": "object"}, "minOccurs": 0, "maxOccurs": 1},
            "image": {
                "schema": {"type": "string", "contentMediaType": "image/png", "contentEncoding": "base64"},
                "minOccurs": 0,
                "maxOccurs": 1,
            },
        },
        {
            "double": {"schema": {"type": "number"}},
            "echo": {"schema": {"type": "object", "contentMediaType": "application/json"}},
            "report": {"schema": {"type": "string", "contentMediaType": "text/csv"}},
            "image": {"schema": {"type": "string", "contentMediaType": "image/png", "contentEncoding": "base64"}},
        },
    )

    def execute(self, data: dict[str, Any], outputs: Any = None) -> tuple[str, Any]:
        self.ran()
        return "application/json", {
            "double": 2 * data["number"],
            "echo": {"value": data, "mediaType": "application/json"},
            "report": {"value": "a,b\n1,2\n", "mediaType": "text/csv"},
            "image": {
                "value": base64.b64encode(PICTURE).decode(),
                "mediaType": "image/png",
                "encoding": "base64",
            },
        }


class Slow(Processor):
    """Waits for a file to appear: how long it takes is the test's to say."""

    metadata = described(
        "slow",
        {"until": {"schema": {"type": "string"}, "minOccurs": 1, "maxOccurs": 1}},
        {"said": {"schema": {"type": "string"}}},
    )

    def execute(self, data: dict[str, Any], outputs: Any = None) -> tuple[str, Any]:
        self.ran()
        end = time.monotonic() + 60
        while not (Path(os.environ["PEER_FOLDER"]) / data["until"]).exists() and time.monotonic() < end:
            time.sleep(0.05)
        return "application/json", {"id": "said", "value": "at last"}


class Gate(Processor):
    """Waits until the file `opened` appears, with all others that do; they go on in the seconds that it names."""

    metadata = described("gate", {}, {"said": {"schema": {"type": "string"}}})
    opened = threading.Event()
    looking = threading.Lock()
    over: ClassVar[list[float]] = []

    def execute(self, data: dict[str, Any], outputs: Any = None) -> tuple[str, Any]:
        if self.looking.acquire(blocking=False):  # one looks for all
            gate = Path(os.environ["PEER_FOLDER"]) / "opened"
            while not gate.exists():
                time.sleep(0.05)
            self.over.append(float(gate.read_text()))
            self.opened.set()
        self.opened.wait()
        time.sleep(random.random() * self.over[0])
        return "application/json", {"id": "said", "value": "done"}


class Failing(Processor):
    """Fails, with a reason."""

    metadata = described("failing", {}, {"said": {"schema": {"type": "string"}}})

    def execute(self, data: dict[str, Any], outputs: Any = None) -> tuple[str, Any]:
        raise ValueError("wrong band")


class Picture(Processor):
    """One output, which is no JSON; at once only."""

    metadata = described(
        "picture",
        {},
        {"image": {"schema": {"type": "string", "contentMediaType": "image/png", "contentEncoding": "binary"}}},
        "sync-execute",
    )

    def execute(self, data: dict[str, Any], outputs: Any = None) -> tuple[str, Any]:
        self.ran()
        return "image/png", PICTURE
