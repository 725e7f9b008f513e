"""The smallest experiment there is, to be sent along with a request to run it again: `say`, with one text."""

from __future__ import annotations

import json
from typing import Any

from tests.api.server import TOOL

RECORD = "experiments/again/record.json"


def request(package: str = TOOL.format(id="say-again"), **files: str) -> dict[str, Any]:
    """The body of POST /reproductions. `files`: others than it has, by their names without .yaml."""
    links = [
        {"rel": "related", "href": "../../workflows/again/record.json"},
        *({"rel": rel, "href": f"./{rel}.yaml", "type": "application/yaml"} for rel in ("input", "environment")),
    ]
    experiment = {"id": "again", "properties": {"type": "experiment", "osc:workflow": "again"}, "links": links}
    link = {"rel": "application", "href": "./package.cwl", "type": "application/cwl"}
    beside = {"input": "text: once more", "environment": "engine: {name: cwltool}", **files}
    sent = {
        RECORD: json.dumps(experiment),
        "workflows/again/record.json": json.dumps({"id": "again", "properties": {}, "links": [link]}),
        "workflows/again/package.cwl": package,
    }
    sent |= {f"experiments/again/{name}.yaml": text for name, text in beside.items()}
    return {"experiment": RECORD, "files": sent}
