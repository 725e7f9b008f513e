"""A results repository in the tests: our own server with the interface and the failures of EOEPCA's reg-api.

    with prr_peer() as prr:
        prr.collection("lakes")
        Prr(Egress(), prr.place("lakes"))

Written from the interface's description (tests/data/osc/prr) and from what is known of its failures: an item is
registered before its files are moved; a second POST is told that the files are not in the staging area; a batch is
answered with an error although some of it was taken. Staging and holding are buckets of a real S3 server that checks
signatures; users of the interface are users of that server.

Scripted: `prr.die(where)` ends the next POST without an answer at "received", "registered" or "moved"; `prr.fail(
status)` answers the next request of the write interface so; `prr.lag` leaves files where they are until `prr.move()`.
What it does not do: quotas, DELETE for administrators, the daemon that looks at formats.
"""

from __future__ import annotations

import base64
import copy
import http.server
import json
import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from broker.results.prr import Place
from broker.storage.signing import S3Account
from tests.peers.s3 import ACCESS_KEY, SECRET_KEY, S3Peer, nanio_peer

STAGING = f"sg-{ACCESS_KEY}-generic"
HOLDING = "holding"
FILE_EXTENSION = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,100}")
_ITEMS = re.compile(r"/(reg-api|stac)/collections/([^/]+)(?:/items(?:/([^/]+))?)?")


@dataclass
class PrrPeer:
    """The running server. `items`: (collection, id) -> item; `requests`: what arrived, as "METHOD path"."""

    s3: S3Peer
    url: str = ""
    items: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    collections: dict[str, set[str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    lag: bool = False
    _deaths: deque[str] = field(default_factory=deque)
    _failures: deque[int] = field(default_factory=deque)
    _waiting: list[tuple[str, str]] = field(default_factory=list)
    _one: threading.RLock = field(default_factory=threading.RLock)

    def __post_init__(self) -> None:
        self.client = boto3.client(
            "s3",
            endpoint_url=self.s3.endpoint,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, read_timeout=1200),  # a copy of 10 GB takes its time
        )
        for bucket in (STAGING, HOLDING):
            self.client.create_bucket(Bucket=bucket)

    def collection(self, name: str, *users: str) -> None:
        """A collection in which these users may register."""
        self.collections[name] = set(users or [ACCESS_KEY])

    def place(self, collection: str, *, user: str = ACCESS_KEY, password: str = SECRET_KEY, **more: Any) -> Place:
        account = S3Account(self.s3.endpoint, "us-east-1", user, password)
        return Place(
            reg_api=f"{self.url}/reg-api", stac=f"{self.url}/stac", collection=collection, user=user,
            password=password, account=account, bucket=STAGING, **more,
        )  # fmt: skip

    def die(self, where: str) -> None:
        self._deaths.append(where)

    def fail(self, status: int) -> None:
        self._failures.append(status)

    def posts(self) -> int:
        return sum(request.startswith("POST ") for request in self.requests)

    def empty(self) -> None:
        """Take everything away but the collections."""
        self.items.clear()
        self._waiting.clear()
        for bucket in (STAGING, HOLDING):
            for one in self.client.list_objects_v2(Bucket=bucket).get("Contents", []):
                self.client.delete_object(Bucket=bucket, Key=one["Key"])

    def staged(self) -> list[str]:
        return [one["Key"] for one in self.client.list_objects_v2(Bucket=STAGING).get("Contents", [])]

    def move(self) -> None:
        """Move what lags behind."""
        for source, target in self._waiting:
            with suppress(ClientError):
                self.client.copy_object(Bucket=HOLDING, Key=target, CopySource={"Bucket": STAGING, "Key": source})
                self.client.delete_object(Bucket=STAGING, Key=source)
        self._waiting.clear()

    # ---- the interface

    def answer(self, method: str, path: str, authorization: str, body: bytes) -> tuple[int, Any] | None:
        """A status and a document; None: the connection ends without an answer."""
        self.requests.append(f"{method} {path}")
        match = _ITEMS.fullmatch(path)
        if match is None:
            return 404, {"detail": "Not Found"}
        side, collection, item = match.groups()
        if side == "stac":
            return self._read(collection, item)
        if self._failures:
            return self._failures.popleft(), {"detail": "scripted"}
        if self._user(authorization) is None:
            return 401, {"detail": "Unauthorized"}
        if self._user(authorization) not in self.collections.get(collection, ()):
            return 403, {"detail": "no permission"}
        if method != "POST" or item is not None:
            return 405, {"detail": "Method Not Allowed"}
        return self._batch(collection, json.loads(body))

    def _read(self, collection: str, item: str | None) -> tuple[int, Any]:
        if collection not in self.collections:
            return 404, {"code": "NotFoundError", "description": "no such collection"}
        if item is None:
            return 200, {"type": "Collection", "id": collection}
        found = self.items.get((collection, item))
        return (200, found) if found else (404, {"code": "NotFoundError", "description": "no such item"})

    def _user(self, authorization: str) -> str | None:
        user, _, password = base64.b64decode(authorization.removeprefix("Basic ") or b"").decode().partition(":")
        return user if (user, password) == (ACCESS_KEY, SECRET_KEY) else None

    def _batch(self, collection: str, document: Any) -> tuple[int, Any] | None:
        if document.get("type") != "FeatureCollection":
            return self._register(collection, document)
        answers = [self._register(collection, item) for item in document["features"]]
        told = [answer for answer in answers if answer is not None]
        status = max(answer[0] for answer in told)
        wanted = [answer[1] for answer in told if answer[0] == status]
        return status, {"type": "FeatureCollection", "features": wanted}

    def _register(self, collection: str, item: dict[str, Any]) -> tuple[int, Any] | None:
        death = self._deaths.popleft() if self._deaths else None
        name = str(item.get("id"))
        if death == "received":
            return None
        try:
            moves = self._moves(collection, item)
        except ValueError as why:
            return 422, {"id": name, "failure_reason": str(why)}
        if (collection, name) in self.items:
            return 409, {"id": name, "failure_reason": "Item already exists"}
        kept = copy.deepcopy(item) | {"collection": collection, "links": []}
        kept["properties"].setdefault("datetime", kept["properties"]["start_datetime"])
        for key, (_, target) in moves.items():
            kept["assets"][key]["href"] = f"/d/{target}"
        self.items[collection, name] = kept
        if death == "registered":
            return None
        self._waiting += moves.values()
        if not self.lag:
            self.move()
        return None if death == "moved" else (201, kept)

    def _moves(self, collection: str, item: dict[str, Any]) -> dict[str, tuple[str, str]]:
        """asset -> key in the staging bucket, key in the holding. Raises ValueError: why it is not taken."""
        _need(isinstance(item.get("id"), str) and _NAME.fullmatch(item["id"]), "the id is missing or not allowed")
        _need(FILE_EXTENSION in item.get("stac_extensions", []), "the File extension is missing")
        properties, assets = item.get("properties", {}), item.get("assets", {})
        for name in ("start_datetime", "end_datetime"):
            _need(isinstance(properties.get(name), str), f"{name} is missing")
        geometry = item.get("geometry")  # required by the description, missing in the valid item of reg-api's tests
        _need((geometry is None) == ("bbox" not in item), "bbox is missing, or is there without a geometry")
        roles = {role for asset in assets.values() for role in asset.get("roles", ())}
        _need(roles & {"data", "documentation"}, "no asset with role data or documentation")
        day = (properties.get("datetime") or properties["start_datetime"])[:10].replace("-", "/")
        moves, names = {}, set()
        for key, asset in assets.items():
            for member in ("href", "type", "roles", "file:size"):
                _need(asset.get(member) is not None, f"{member} of {key} is missing")
            if "://" in asset["href"]:
                continue
            file = asset["href"].rpartition("/")[2]
            _need(_NAME.fullmatch(file) and file not in names, f"the file name {file} is not allowed or used twice")
            names.add(file)
            size = self._size(asset["href"])
            _need(size is not None, f"{asset['href']} not found in the staging area")
            _need(size == asset["file:size"], f"{asset['href']} has the size {size}, not {asset['file:size']}")
            moves[key] = (asset["href"], f"{collection}/{day}/{item['id']}/{file}")
        return moves

    def _size(self, key: str) -> int | None:
        try:
            return int(self.client.head_object(Bucket=STAGING, Key=key)["ContentLength"])
        except ClientError:
            return None

    def body(self, path: str) -> Any:
        """(size, stream) of a file that was moved; None where there is none."""
        try:
            found = self.client.get_object(Bucket=HOLDING, Key=path.removeprefix("/d/"))
        except ClientError:
            return None
        return found["ContentLength"], found["Body"]


def _need(condition: Any, why: str) -> None:
    if not condition:
        raise ValueError(why)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    peer: PrrPeer

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _serve(self) -> None:
        path = unquote(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.peer._one:
            if path.startswith("/d/"):
                self._file(path)
                return
            answer = self.peer.answer(self.command, path, self.headers.get("Authorization") or "", body)
        if answer is None:
            self.close_connection = True
            return
        raw = json.dumps(answer[1]).encode()
        self._head(answer[0], "application/json", len(raw))
        self.wfile.write(raw)

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    def _file(self, path: str) -> None:
        self.peer.requests.append(f"{self.command} {path}")
        found = self.peer.body(path)
        if found is None:
            self._head(404, "text/plain", 0)
            return
        size, stream = found
        self._head(200, "application/octet-stream", size)
        with stream:
            while self.command == "GET" and (chunk := stream.read(2**20)):
                self.wfile.write(chunk)

    def _head(self, status: int, media: str, size: int) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(size))
        self.end_headers()


@contextmanager
def prr_peer() -> Iterator[PrrPeer]:
    """A repository without collections, on loopback."""
    with nanio_peer() as s3:
        peer = PrrPeer(s3)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"peer": peer}))
        server.daemon_threads = True
        peer.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield peer
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
