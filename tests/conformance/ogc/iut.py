"""The implementation under test, and what the tests of requirements ask of it again and again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests

from tests.api.schemas import validate
from tests.peers.broker import BrokerPeer, wait_for
from tests.peers.web import WebPeer

PART1 = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
PART2 = "http://www.opengis.net/def/exceptions/ogcapi-processes-2/1.0/"
REL = "http://www.opengis.net/def/rel/ogc/1.0/"
MESSAGE = {"message": "teststring"}


@dataclass(frozen=True)
class Iut:
    """A broker with the processes echo, outputs and failing."""

    broker: BrokerPeer
    web: WebPeer

    @property
    def url(self) -> str:
        return self.broker.url

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        address = path if path.startswith("http") else self.url + path
        return self.broker.session.request(method, address, timeout=60, **options)

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def json(self, path: str, schema: str | None = None) -> Any:
        """A 200 answer, checked against a published schema."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        document = answer.json()
        if schema is not None:
            validate(document, schema)
        return document

    def execute(self, process: str, body: Mapping[str, Any], prefer: str | None = None) -> requests.Response:
        headers = {"Prefer": prefer} if prefer else {}
        return self.request("POST", f"/processes/{process}/execution", json=dict(body), headers=headers)

    def echo(self, **inputs: Any) -> requests.Response:
        """Run echo synchronously, results as a document."""
        return self.execute("echo", {"inputs": MESSAGE | inputs, "response": "document"})

    def outputs(self, outputs: Mapping[str, str | None], response: str = "raw") -> requests.Response:
        """Run `outputs` synchronously; output -> transmission mode (None: not said)."""
        wanted = {name: {"transmissionMode": mode} if mode else {} for name, mode in outputs.items()}
        return self.execute("outputs", {"inputs": {"text": "hello"}, "outputs": wanted, "response": response})

    def ended(self, process: str, inputs: Mapping[str, Any], **body: Any) -> dict[str, Any]:
        """The status of a job that was run asynchronously, once it has ended."""
        answer = self.execute(process, {"inputs": dict(inputs), **body}, "respond-async")
        assert answer.status_code == 201, answer.text
        return self.broker.ended(answer.json()["jobID"])

    def running(self, seconds: int = 30) -> str:
        """A job that runs for so long."""
        job = str(self.execute("echo", {"inputs": MESSAGE | {"pause": seconds}}, "respond-async").json()["jobID"])
        wait_for(lambda: self.broker.status(job)["status"] == "running", 30, lambda: "it does not start")
        return job

    def parameters(self, path: str, method: str = "get") -> dict[str, Any]:
        """The parameters of an operation in the API definition, by name."""
        operation = self.json("/api")["paths"][path][method]
        return {one["name"]: one for one in operation.get("parameters", [])}

    def links(self, document: Mapping[str, Any]) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for one in document["links"]:
            found.setdefault(one["rel"], []).append(one["href"])
        return found


def problem(answer: requests.Response, status: int, kind: str) -> None:
    """An error of this status and type, as exception.yaml has it."""
    assert answer.status_code == status, answer.text
    validate(answer.json(), "exception")
    assert answer.json()["type"] == kind
