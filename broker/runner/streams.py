"""Names of the files of streams to which a package gives none: the same in each job.

cwltool's own are drawn from the tool with its absolute place, so that a step would be another one in each job.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import cwltool.load_tool

_PLACES = re.compile(r'file://[^"#]*|_:[0-9a-f-]{36}')
_convert = cwltool.load_tool._convert_stdstreams_to_files


def _named(document: Any) -> None:
    """In place of cwltool's function, which calls it for each process that is part of another."""
    if isinstance(document, Mapping) and document.get("class") == "CommandLineTool":
        kinds = [one.get("type") for one in document.get("outputs") or () if isinstance(one, Mapping)]
        for stream in ("stdout", "stderr"):
            if stream in kinds and stream not in document:
                text = _PLACES.sub("", json.dumps([stream, document], sort_keys=True))
                document[stream] = hashlib.sha256(text.encode()).hexdigest()[:40]  # type: ignore[index]
    _convert(document)


def install() -> None:
    """Have cwltool use it, for the whole process."""
    cwltool.load_tool._convert_stdstreams_to_files = _named  # type: ignore[assignment]
