"""Reads a stranger's package in a child of the zygote that may use little and reach nothing.

What it is sent: a frame {"mediaType", "process", "strangers"} with the body of a deploy request. What it sends:
{"read": URL} for each import or link, and {"clone": repository, "commit"} for a package in git, which are answered by
a frame with the bytes or {"error"}; at last {"ok"} with the deployment and its inspection as JSON, or {"error"}.
Whoever asked decides which addresses are read, and how many.
"""

from __future__ import annotations

import encodings.ascii
import encodings.idna
import encodings.latin_1
import encodings.utf_8_sig
import encodings.utf_16_be
import json
import signal
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from broker import errors
from broker.errors import BrokerError, Missing, PackageError
from broker.packages.appackage import MAX_BODY, deployment
from broker.packages.bundle import Bundle
from broker.packages.closure import warm_schemas
from broker.packages.keys import is_url
from broker.packages.pack import MAX_ANSWER
from broker.packages.repository import Place
from broker.packages.units import Clone
from broker.runner import frames, kernel, loading
from broker.runner.errorjson import from_json, to_json

MEMORY = 1024 * 2**20
CPU = 20
SECONDS = 90
DESCRIPTORS = 16
MAX_DOCUMENT = MAX_BODY  # of one that is read for it

_WARM = "cwlVersion: {0}\nclass: CommandLineTool\nbaseCommand: 'true'\ninputs: []\noutputs: []\n"
# What goes wrong in most ways: each loads a module that is needed to say so, and none can be loaded later.
_WRONG = (
    (_WARM.format("v1.2").replace("[]", "{a: Flie}"), "application/cwl"),
    ("a: [", "application/cwl"),
    (_WARM.format("v1.2") + "baseComand: x\nhints: {NoSuch: {}}\n", "application/cwl"),
    (_WARM.format("v1.2").replace("'true'", "{a: 1}"), "application/cwl"),
    ('{"executionUnit": {"image": "docker.io/library/alpine:3", "type": "docker"}}', "application/ogcapppkg+json"),
    ("<html>", "text/html"),
    (
        "cwlVersion: v1.2\nclass: Workflow\ninputs: {a: 'string?'}\noutputs: {}\nrequirements:\n"
        "  InlineJavascriptRequirement: {}\n  SchemaDefRequirement: {types: [{$import: 'https://raw.githubusercontent."
        "com/eoap/schemas/main/string_format.yaml'}]}\nsteps:\n  one:\n    when: $(inputs.a)\n    in: {a: a}\n"
        "    out: []\n    run: {class: ExpressionTool, inputs: {a: Any}, outputs: {}, expression: '${return {};}'}\n",
        "application/cwl",
    ),
)
_CODECS = (encodings.ascii, encodings.idna, encodings.latin_1, encodings.utf_8_sig, encodings.utf_16_be)


def serve(connection: socket.socket, nowhere: Path) -> int:
    """Read one package and say what it is. `nowhere`: an empty directory, all that is left of the file system."""
    signal.alarm(SECONDS)
    shut = kernel.shut_in(nowhere, keep=(0, 1, 2, connection.fileno()))
    kernel.limit(memory=MEMORY, cpu=CPU, files=DESCRIPTORS, written=0, processes=0)
    stream = connection.makefile("rb")
    answer: dict[str, Any] | None = None
    body = b""
    try:
        body = _read(connection, stream, shut)
    except BrokerError as error:
        answer = {"error": to_json(error)}
    except MemoryError:
        answer = {"error": to_json(PackageError(f"The package needs more than {MEMORY // 2**20} MiB to be read."))}
    except frames.Garbled as error:
        answer = {"error": to_json(errors.LimitError(f"A package may have {MAX_BODY // 2**20} MiB ({error})."))}
    except Exception as error:  # noqa: BLE001  the boundary of a process, which has no log that anybody reads
        answer = {"error": to_json(BrokerError(f"Reading the package failed ({type(error).__name__}: {error})."[:500]))}
    frames.send(connection, answer or {"ok": True}, body)
    connection.close()
    return 0


def _read(connection: socket.socket, stream: BufferedIOBase, shut: bool) -> bytes:
    asked, body = frames.receive(stream, MAX_BODY + 1)
    if asked["strangers"] and not shut:
        raise errors.SetupError(
            "The kernel lets the broker shut nobody in: packages are not read while several people use the broker.",
            hint="Allow user namespaces: `broker doctor` names the command.",
        )

    def read(url: str) -> bytes:
        if not is_url(url):
            hint = "Send all its files (broker deploy, or the deploy page, does), one document ($graph), or a link."
            raise Missing("only the document itself was sent.", hint=hint)
        return _told(connection, stream, {"read": url}, MAX_DOCUMENT)

    def clone(place: Place) -> bytes:
        return _told(connection, stream, {"clone": place.repository, "commit": place.commit}, MAX_ANSWER)

    return _answer(body, str(asked["mediaType"]), asked["process"], read, clone)


def _told(connection: socket.socket, stream: BufferedIOBase, question: dict[str, Any], most: int) -> bytes:
    frames.send(connection, question)
    told, data = frames.receive(stream, most)
    if "error" in told:
        raise from_json(told["error"])
    return data


def _answer(
    body: bytes, media: str, process: str | None, read: Callable[[str], bytes], clone: Clone | None = None
) -> bytes:
    found = deployment(body, media, process=process, read=read, clone=clone)
    inspection = loading.inspect(found.bundle, Path("/package"))
    whole = {"deployment": found.to_json(), "inspection": inspection.to_json()}
    return json.dumps(whole, ensure_ascii=False).encode("utf-8", "replace")


def warm() -> None:
    """Load a trivial package of each version, so that whatever cwltool keeps is kept before the first fork."""
    for version in loading.VERSIONS:
        bundle = Bundle.make("package.cwl", {"package.cwl": _WARM.format(version)}, {})
        with tempfile.TemporaryDirectory() as directory:
            loading.inspect(bundle, Path(directory))


def preload() -> None:
    """Have everything in memory that reading a package may need: later there is no file to load it from."""
    warm_schemas()

    def nothing(url: str) -> bytes:
        raise Missing(url)

    for text, media in _WRONG:
        with suppress(BrokerError):
            _answer(text.encode(), media, None, nothing)
