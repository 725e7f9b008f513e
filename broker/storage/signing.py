"""Signed S3 URLs (AWS Signature Version 4, query form), made without a client and without a request.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

_LONGEST = 7 * 24 * 3600  # seconds; S3 takes no longer signatures


@dataclass(frozen=True, slots=True)
class S3Account:
    """How to reach buckets of one S3 service. Without keys, requests are not signed (public buckets).

    `endpoint`: `https://s3.example.org`, without the bucket; None: AWS in `region`. `virtual_hosted`: the bucket
    is part of the host name. Secrets are left out of `repr`.
    """

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    virtual_hosted: bool = False

    def url(self, bucket: str, name: str) -> str:
        """The plain URL of an object."""
        base = (self.endpoint or f"https://s3.{self.region}.amazonaws.com").rstrip("/")
        # Certificates cover one label before the host, so a bucket with dots goes into the path.
        if self.virtual_hosted or (self.endpoint is None and "." not in bucket):
            scheme, _, host = base.partition("://")
            return f"{scheme}://{bucket}.{host}/{_quoted(name, '/')}"
        return f"{base}/{bucket}/{_quoted(name, '/')}"

    def signed(
        self,
        bucket: str,
        name: str,
        seconds: float,
        *,
        method: str = "GET",
        query: Mapping[str, str] | None = None,
        now: datetime | None = None,
    ) -> str:
        """A URL that is good for `seconds` (a week at most) from `now`; the plain URL where there are no keys."""
        url = self.url(bucket, name)
        if self.access_key is None or self.secret_key is None:
            extra = "&".join(f"{_quoted(key)}={_quoted(value)}" for key, value in sorted((query or {}).items()))
            return f"{url}?{extra}" if extra else url
        time = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{time[:8]}/{self.region}/s3/aws4_request"
        fields = dict(query or {}) | {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"{self.access_key}/{scope}",
            "X-Amz-Date": time,
            "X-Amz-Expires": str(max(1, min(int(seconds), _LONGEST))),
            "X-Amz-SignedHeaders": "host",
        }
        if self.session_token is not None:
            fields["X-Amz-Security-Token"] = self.session_token
        asked = "&".join(f"{_quoted(key)}={_quoted(value)}" for key, value in sorted(fields.items()))
        parts = urlsplit(url)
        request = f"{method}\n{parts.path}\n{asked}\nhost:{parts.netloc}\n\nhost\nUNSIGNED-PAYLOAD"
        text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self.secret_key}".encode()
        for piece in (time[:8], self.region, "s3", "aws4_request"):
            key = hmac.digest(key, piece.encode(), "sha256")
        return f"{url}?{asked}&X-Amz-Signature={hmac.digest(key, text.encode(), 'sha256').hex()}"

    def to_json(self) -> dict[str, Any]:
        """With the secrets: only for the private file that staging reads."""
        return {
            "endpoint": self.endpoint,
            "region": self.region,
            "accessKey": self.access_key,
            "secretKey": self.secret_key,
            "sessionToken": self.session_token,
            "virtualHosted": self.virtual_hosted,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> S3Account:
        return cls(
            value.get("endpoint"),
            value.get("region") or "us-east-1",
            value.get("accessKey"),
            value.get("secretKey"),
            value.get("sessionToken"),
            bool(value.get("virtualHosted")),
        )


def _quoted(text: str, safe: str = "") -> str:
    return quote(text, safe=safe + "-_.~")
