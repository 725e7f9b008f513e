"""The caller's token stays between the caller and the gate: it is neither kept nor sent on."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
import requests

from tests.api.conftest import MakeServer
from tests.peers.broker import broker_peer, wait_for
from tests.peers.oidc import PORTAL, Provider
from tests.peers.web import WebPeer

TOOL = """cwlVersion: v1.2
class: CommandLineTool
id: show
baseCommand: [cat]
inputs: {scene: {type: File, inputBinding: {position: 1}}}
outputs: {said: stdout}
"""


def secrets_in(file: Path, secrets: list[bytes]) -> list[bytes]:
    try:
        content = file.read_bytes()
    except OSError:  # a socket, or gone
        return []
    return [one for one in secrets if one in content]


def test_nothing_of_a_token_is_kept(tmp_path: Path, idp: Provider) -> None:
    """A whole broker: a job by a person, one by a platform for a person; then every byte of its state."""
    delegates = {"portal": {"issuer": "test", "client": PORTAL, "people": ["test:*"]}}
    access = {"issuers": {"test": idp.settings()}, "delegates": delegates}
    person, machine = idp.token("ada"), idp.machine()
    with broker_peer(tmp_path / "state", ACCESS=json.dumps(access)) as peer:
        made = requests.post(
            f"{peer.url}/tokens", json={"name": "x"}, headers={"Authorization": f"Bearer {person}"}, timeout=30
        )
        own = made.json()["secret"]
        for token, more in ((person, {}), (machine, {"Acting-For": "test:bob"}), (own, {})):
            headers = {"Authorization": f"Bearer {token}", **more}
            url = f"{peer.url}/processes/echo/execution"
            inputs = {"inputs": {"message": "hello"}}
            answer = requests.post(url, json=inputs, headers={**headers, "Prefer": "respond-async"}, timeout=30)
            assert answer.status_code == 201, answer.text
            job = f"{peer.url}/jobs/{answer.json()['jobID']}"

            def status(job: str = job, headers: dict[str, str] = headers) -> str:
                return str(requests.get(job, headers=headers, timeout=30).json()["status"])

            wait_for(lambda: status() in ("successful", "failed"), 60, status)
            assert status() == "successful"
    tokens = [person, machine, own]
    # the signature is the secret part of a JWT; and what is kept may be written in pieces
    secrets = [part.encode() for one in tokens for part in (one, one.rpartition(".")[2])]
    files = [file for file in (tmp_path / "state").rglob("*") if file.is_file()]
    assert len(files) > 5
    found = {str(file): secrets_in(file, secrets) for file in files}
    assert {file: one for file, one in found.items() if one} == {}


def test_nothing_of_a_token_is_sent_on(
    with_settings: MakeServer, idp: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """Links in requests are followed without it, to whatever host."""
    caplog.set_level(logging.DEBUG)
    token = idp.token("ada")
    headers = {"Authorization": f"Bearer {token}", "Cookie": "broker-session=x"}
    with WebPeer() as web:
        web.serve("/package.cwl", TOOL, media_type="application/cwl")
        web.serve("/scene.tif", b"scene", media_type="image/tiff")
        access = {"issuers": {"test": idp.settings()}}
        server = with_settings(access=access, egress={"allow_networks": ["127.0.0.0/8"]})
        server.platform()
        unit = {"executionUnit": {"href": web.url("/package.cwl"), "type": "application/cwl"}}
        kind = {"Content-Type": "application/ogcapppkg+json"}
        answer = server.post("/processes", data=json.dumps(unit), headers=headers | kind)
        assert answer.status_code == 201, answer.text
        body = {"inputs": {"scene": {"href": web.url("/scene.tif")}}}
        answer = server.post("/processes/show/check", json=body, headers=headers)
        assert answer.json()["ok"], answer.text
        paths = {one.path for one in web.requests}
        assert paths == {"/package.cwl", "/scene.tif"}
        for one in web.requests:
            assert not {"authorization", "cookie", "proxy-authorization"} & set(one.headers)
            assert token not in str(one)
    assert token not in caplog.text
    assert token.rpartition(".")[2] not in caplog.text
