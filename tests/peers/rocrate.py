"""The validator of run crates, unmodified, in an environment of its own, without any network.

It wants older libraries than ours, so that it is no group of this project. The one context that our crates name comes
from a release of the `rocrate` library that holds it, and is put into the validator's cache beforehand.
"""

from __future__ import annotations

import json
import subprocess
import sys
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
from rocrate_validator import services, models

class Here(BaseAdapter):
    def send(self, request, **options):
        answer = requests.Response()
        answer.status_code, answer.url, answer.request = 200, request.url, request
        answer.headers["Content-Type"] = "application/ld+json"
        answer.raw = io.BytesIO(CONTEXT)
        answer.raw.release_conn = lambda: None
        from urllib3 import HTTPResponse
        answer.raw = HTTPResponse(body=io.BytesIO(CONTEXT), status=200, headers=dict(answer.headers), preload_content=False, request_url=request.url)
        return answer
    def close(self): pass

CONTEXT = files("rocrate").joinpath("data/ro-crate.jsonld").read_bytes()
cache, crate, severity, *profiles = sys.argv[1:]
session = CachedSession(cache_name=cache, expire_after=-1, backend="sqlite", allowable_methods=("GET",))
session.mount("https://w3id.org/", Here())
for version in ("1.1",):
    url = f"https://w3id.org/ro/crate/{version}/context"
    for headers in ({}, {"Accept": "application/ld+json, application/json;p=0.9, */*;q=0.1"}):
        session.get(url, headers=headers)
found = {}
for profile in profiles:
    result = services.validate(services.ValidationSettings(
        rocrate_uri=models.URI(crate), profile_identifier=profile, requirement_severity=getattr(models.Severity, severity),
        offline=True, cache_path=cache, skip_availability_check=True,
    ))
    found[profile] = {
        "passed": result.passed(), "checks": len(result.executed_checks), "skipped": len(result.skipped_checks),
        "issues": [f"{one.check.identifier}: {one.message} ({one.violatingEntity})" for one in result.get_issues()],
    }
print(json.dumps(found))
"""


def validated(crate: Path, cache: Path, severity: str = "REQUIRED") -> dict[str, dict[str, Any]]:
    """For each profile whether the crate (a directory or zip) passed, how many checks ran, and what was found."""
    uv = Path(sys.executable).with_name("uv")
    pins = [word for pin in PINS for word in ("--with", pin)]
    command = [uv, "run", "--quiet", "--isolated", "--no-project", "--python", sys.executable, *pins, "python", "-c", _EACH]
    done = subprocess.run(
        [*command, str(cache), str(crate), severity, *PROFILES], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
