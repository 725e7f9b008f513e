"""Frames between the broker and a child of the zygote: a line of JSON, then as many bytes as its `size` says."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from io import BufferedIOBase
from typing import Any

MAX_HEAD = 2**16


class Garbled(Exception):
    """What came is no frame, or one that is too large."""


def send(connection: socket.socket, head: Mapping[str, Any], body: bytes = b"") -> None:
    """Raises OSError."""
    connection.sendall(json.dumps({**head, "size": len(body)}).encode() + b"\n" + body)


def receive(stream: BufferedIOBase, most: int) -> tuple[dict[str, Any], bytes]:
    """Head and body of the next frame; the body of at most `most` bytes. Raises Garbled, OSError."""
    line = stream.readline(MAX_HEAD)
    if not line.endswith(b"\n"):
        raise Garbled("it ended")
    try:
        head = json.loads(line)
        size = head["size"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Garbled("not a frame") from error
    if not isinstance(head, dict) or type(size) is not int or not 0 <= size <= most:
        raise Garbled("not the size of a frame")
    body = stream.read(size)
    if len(body) != size:
        raise Garbled("it ended early")
    return head, body
