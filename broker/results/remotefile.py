"""Looks at a file on the web: is it there, of the size and the content that were promised?"""

from __future__ import annotations

import hashlib

from broker.egress import Egress, FetchError
from broker.errors import EgressRefused, TargetUnavailable


def difference(
    egress: Egress, url: str, *, size: int | None, sha256: str | None, whole: int, trusted: bool = False
) -> str | None:
    """What is wrong with the file, None where nothing is. Its content is read where it has at most `whole` bytes and a
    sha256 (hex) is known; else only its size is asked for. Raises TargetUnavailable where that is not to be had now."""
    try:
        if sha256 is None or size is None or size > whole:
            with egress.head(url, trusted=trusted) as answer:
                found = answer.size
            return f"has {found} bytes instead of {size}" if None not in (size, found) and size != found else None
        digest, count = hashlib.sha256(), 0
        with egress.open(url, trusted=trusted, limit=whole) as answer:
            for chunk in answer:
                digest.update(chunk)
                count += len(chunk)
    except EgressRefused as error:
        return f"cannot be looked at: {error.detail}"
    except FetchError as error:
        if error.transient:
            raise TargetUnavailable(error.detail, hint=error.hint, retry_after=error.retry_after) from error
        return "is not there" if error.status in (404, 410) else f"cannot be read: {error.detail}"
    if count != size:
        return f"has {count} bytes instead of {size}"
    return None if digest.hexdigest() == sha256 else "has another content (sha256)"
