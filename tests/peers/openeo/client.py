"""openEO's own client, as an independent check: `client.py URL GRAPH.json OUT` runs a graph and writes its first asset.

Runs in the environment of the back-end, whose dependency it is.
"""
# mypy: ignore-errors

from __future__ import annotations

import json
import sys
from pathlib import Path

import openeo


def main(url: str, graph: str, out: str) -> None:
    connection = openeo.connect(url).authenticate_basic("jane", "jane123")
    job = connection.create_job(json.loads(Path(graph).read_text()), title="by the official client")
    job.start_and_wait(max_poll_interval=0.2)
    [asset] = job.get_results().get_assets()
    asset.download(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
