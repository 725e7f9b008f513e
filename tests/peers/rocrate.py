"""The validator of run crates, unmodified, in an environment of its own, without any network.

It wants older libraries than ours, so that it is no group of this project. The one context that our crates name comes
from a release of the `rocrate` library that holds it, and is put into the validator's cache beforehand.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PINS = ("roc-validator==0.13.0", "rocrate==0.13.0")
PROFILES = ("process-run-crate-0.5", "workflow-run-crate-0.5", "provenance-run-crate-0.5")
_EACH = """
import io, json, sys
from importlib.resources import files
import requests
from requests.adapters import BaseAdapter
from requests_cache import CachedSession
from urllib3 import HTTPResponse
from rocrate_validator import services, models

class Here(BaseAdapter):
    def send(self, request, **options):
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = 200, request.url, request
        answer.headers["Content-Type"] = "application/ld+json"
        answer.raw = HTTPResponse(io.BytesIO(CONTEXT), dict(answer.headers), 200, preload_content=False,
                                  request_url=request.url)
        return answer
    def close(self): pass

CONTEXT = files("rocrate").joinpath("data/ro-crate.jsonld").read_bytes()
cache, crate, severity, *profiles = sys.argv[1:]
session = CachedSession(cache_name=cache, expire_after=-1, backend="sqlite", allowable_methods=("GET",))
session.mount("https://w3id.org/", Here())
session.get("https://w3id.org/ro/crate/1.1/context")
found = {}
for profile in profiles:
    result = services.validate(services.ValidationSettings(
        rocrate_uri=models.URI(crate), profile_identifier=profile, offline=True,
        requirement_severity=getattr(models.Severity, severity),
        cache_path=cache, skip_availability_check=True,
    ))
    found[profile] = {
        "passed": result.passed(), "checks": len(result.executed_checks), "skipped": len(result.skipped_checks),
        "issues": [f"{one.check.identifier}: {one.message} ({one.violatingEntity})" for one in result.get_issues()],
    }
print(json.dumps(found))
"""


def validated(
    crate: Path, cache: Path, *, severity: str = "REQUIRED", profiles: Sequence[str] = PROFILES
) -> dict[str, dict[str, Any]]:
    """For each profile whether the crate (a directory or zip) passed, how many checks ran, and what was found."""
    uv = Path(sys.executable).with_name("uv")
    pins = [word for pin in PINS for word in ("--with", pin)]
    alone: list[str | Path] = [uv, "run", "--quiet", "--isolated", "--no-project", "--python", sys.executable, *pins]
    command = [*alone, "python", "-c", _EACH, str(cache), str(crate), severity, *profiles]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
