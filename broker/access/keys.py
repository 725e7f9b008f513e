"""What an issuer publishes: its endpoints and its keys, fetched when they are needed and kept while it is down."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from broker.access.addresses import secure
from broker.egress import Egress, FetchError
from broker.errors import EgressRefused, IssuerSilent

if TYPE_CHECKING:
    from joserfc.jwk import Key

FRESH = 3600.0  # seconds that documents are good for
RETRY = 30.0  # seconds until an issuer that did not answer is asked again
FORCED = 10.0  # seconds between refreshes that unknown keys ask for: a flood of junk tokens costs no more than these
REMEMBERED_MISSES = 1000  # ids of keys that an issuer did not have
MISSED = 300.0  # seconds that it is not asked for such a key again
LONGEST_DOCUMENT = 512 * 1024
FAMILY = MappingProxyType({"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"})
_log = logging.getLogger(__name__)


class Issued:
    """The published documents of one issuer. Threads may share it; `refresh` calls the issuer, all else does not.

    `url` is the operator's, so that the egress policy of users' addresses does not count for it.
    """

    def __init__(self, url: str, egress: Egress, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self._egress = egress
        self._clock = clock
        self._lock = threading.Lock()
        self._metadata: Mapping[str, Any] = {}
        self._keys: tuple[tuple[str | None, str, Key], ...] = ()  # (kid, key type, key)
        self._due = 0.0  # when to fetch next, by age
        self._forced = 0.0  # from when an unknown key may ask for a refresh
        self._missed: dict[str, float] = {}

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The discovery document, empty before the first refresh that worked."""
        return self._metadata

    def endpoint(self, name: str) -> str:
        """An endpoint by its name in the discovery document. Raises IssuerSilent where there is none."""
        found = self._metadata.get(name)
        if not isinstance(found, str) or not secure(found):
            raise IssuerSilent(f"The issuer {self.url} has no usable {name}.")
        return found

    def stale(self) -> bool:
        """Whether the documents should be fetched (again)."""
        return self._clock() >= self._due

    def key(self, kid: str | None, algorithm: str) -> Key | None:
        """The key that a token names. A token without a key id is taken only where one key alone fits."""
        family = FAMILY.get(algorithm[:2])
        fitting = [key for its, kind, key in self._keys if kind == family and (kid is None or its == kid)]
        fitting = [key for key in fitting if key.get("alg") in (None, algorithm)]
        return fitting[0] if len(fitting) == 1 else None

    def may_ask_for(self, kid: str | None) -> bool:
        """Whether an unknown key is a reason to call the issuer now: once per key, and not more often than FORCED."""
        now = self._clock()
        return now >= self._forced and now >= self._missed.get(kid or "", 0.0)

    def refresh(self, kid: str | None = None, *, forced: bool = False) -> None:
        """Fetch both documents where they are due, or `forced` (for the key `kid`) where that is allowed.

        Keeps what it has when the issuer does not answer; raises IssuerSilent when it has nothing.
        """
        with self._lock:
            due = self.stale()
            if not due and not (forced and self.may_ask_for(kid)):
                return
            if not due:
                self._forced = self._clock() + FORCED
            try:
                self._fetch()
            except (FetchError, EgressRefused, ValueError) as error:
                self._due = self._clock() + RETRY
                _log.warning("the issuer %s gives no keys: %s", self.url, error)
                if not self._keys:
                    raise IssuerSilent(
                        "The issuer of this token does not answer.", hint="Try again in half a minute."
                    ) from error
            if forced and kid is not None and kid not in {its for its, _, _ in self._keys}:
                if len(self._missed) >= REMEMBERED_MISSES:
                    self._missed.clear()
                self._missed[kid] = self._clock() + MISSED

    def _fetch(self) -> None:
        metadata = self._document(self.url.rstrip("/") + "/.well-known/openid-configuration")
        if metadata.get("issuer") != self.url:
            raise ValueError(f"it calls itself {str(metadata.get('issuer'))[:200]!r}, not {self.url!r}")
        where = metadata.get("jwks_uri")
        if not isinstance(where, str) or not secure(where):
            raise ValueError("its jwks_uri is not an https address")
        from broker.access.signatures import usable_keys  # noqa: PLC0415 - see there

        keys = usable_keys(self._document(where))
        if not keys:
            raise ValueError("it publishes no key that can be used")
        self._metadata, self._keys = metadata, keys
        self._due = self._clock() + FRESH

    def _document(self, url: str) -> Mapping[str, Any]:
        found = json.loads(self._egress.get_bytes(url, LONGEST_DOCUMENT, accept="application/json", trusted=True))
        if not isinstance(found, Mapping):
            raise ValueError("what it publishes is not a JSON object")
        return found
