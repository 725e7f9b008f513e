"""Signatures of callbacks, as Standard Webhooks 1.0.0 has them: HMAC-SHA256 over id, time and body.

A receiver recomputes it with nothing but its language's own library, or with a ready library of that specification
(https://www.standardwebhooks.com). Secrets are `whsec_` and base64.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def headers(message_id: str, seconds: float, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """The three headers of a message; with several secrets, one signature for each."""
    stamp = str(int(seconds))
    signed = b".".join((message_id.encode(), stamp.encode(), body))
    return {
        "webhook-id": message_id,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{_signature(key, signed)}" for key in keys),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
