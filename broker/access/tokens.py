"""The broker's own bearer tokens: `eb_` and 256 random bits, kept only as SHA-256.

A fast hash is right here: the secret has 256 bits of entropy, so that there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import secrets

PREFIX = "eb_"


def generate() -> tuple[str, str]:
    """(the secret to show once, the hash to keep)."""
    secret = PREFIX + secrets.token_urlsafe(32)
    return secret, digest(secret)


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
