"""What this machine offers to tools; found by trying, and kept beside the jobs, for trying takes a second."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from dataclasses import replace

from adapters.local.settings import LocalSettings
from broker.runner.isolation import Isolation, Software, find, find_software
from broker.runner.jobdir import read_json, write_json

FILE = ".isolation.json"
FRESH = 300.0  # seconds for which `check` trusts an answer that was good


PLAIN_REFUSED = (
    'isolation = "process" is for one person only: several use this broker (there are tokens or issuers), so that no'
    ' tool runs as a plain process. Set isolation = "auto".'
)


def isolation(settings: LocalSettings, *, shared: bool, again: bool = False) -> Isolation:
    """What tools may run in: what works, but never plain processes where several people use the broker."""
    found = _working(settings, again=again)
    if found.tools != "process" or not shared:
        return found
    return replace(found, tools="container" if found.engine else "none", notes=(PLAIN_REFUSED,))


def _working(settings: LocalSettings, *, again: bool) -> Isolation:
    """What works, from the file of an earlier trial with the same settings; `again`: not older than `FRESH`."""
    asked = [settings.isolation, settings.engine, list(settings.engine_args), sys.prefix]
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    path = settings.root / FILE
    kept = read_json(path)
    now = time.time()
    if kept is not None and kept.get("key") == key:
        known = Isolation.from_json(kept["found"])
        if not again or (not known.notes and 0 <= now - kept["at"] < FRESH):
            return known
    found = find(settings.isolation, settings.engine, settings.engine_args)
    settings.root.mkdir(parents=True, exist_ok=True)
    write_json(path, {"key": key, "at": now, "found": found.to_json()})
    return found


def software(settings: LocalSettings) -> Software:
    """The configured directories, resolved. Raises SetupError for one that is not there."""
    return find_software(settings.software)
