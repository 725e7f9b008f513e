"""Brings the results of a job to this computer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from broker.cli import outcome
from broker.cli.client import Client
from broker.cli.downloads import Downloader


def bring(client: Client, job_id: str, found: Mapping[str, Any], target: Path, *, quiet: bool) -> dict[str, Any]:
    """Download the files of an output object below `target`; gives the object with their local paths."""
    with outcome.transfers(quiet=quiet) as shown:
        downloader = Downloader(client, job_id, target, shown)
        downloader.learn()
        local: dict[str, Any] = downloader.localize(found)
        return local
