"""The smallest experiment there is, to be sent along with a request to run it again: `say`, with one text."""

from __future__ import annotations

import json
from typing import Any

from tests.api.server import TOOL

RECORD = "experiments/again/record.json"


def request() -> dict[str, Any]:
    """The body of POST /reproductions."""
    links = [
        {"rel": "related", "href": "../../workflows/again/record.json"},
        {"rel": "input", "href": "./input.yaml", "type": "application/yaml"},
    ]
    experiment = {"id": "again", "properties": {"type": "experiment", "osc:workflow": "again"}, "links": links}
    package = {"rel": "application", "href": "./package.cwl", "type": "application/cwl"}
    files = {
        RECORD: json.dumps(experiment),
        "experiments/again/input.yaml": "text: once more",
        "workflows/again/record.json": json.dumps({"id": "again", "properties": {}, "links": [package]}),
        "workflows/again/package.cwl": TOOL.format(id="say-again"),
    }
    return {"experiment": RECORD, "files": files}
