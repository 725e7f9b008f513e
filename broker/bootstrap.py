"""Settings -> Broker: the one place that wires stores, platforms, storage and egress together."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from adapters import build
from broker.egress import Egress, EgressPolicy
from broker.jobs.model import Limits
from broker.packages.bundle import Bundle
from broker.packages.cwl import Inspection
from broker.platform import Platform
from broker.runner.client import Zygote
from broker.settings import Settings
from broker.storage import Storage
from broker.storage.local import LocalStorage
from broker.storage.s3 import S3Storage
from broker.store.database import Database, new_id


@dataclass(frozen=True)
class Broker:
    """Everything that a process of the broker works with; parts are made when they are first used."""

    settings: Settings
    database: Database
    storage: Storage

    @cached_property
    def holder(self) -> str:
        """Who claims jobs: this process, and no other one ever."""
        return f"{socket.gethostname()}:{os.getpid()}:{new_id()}"

    @cached_property
    def platforms(self) -> Mapping[str, Platform]:
        """The configured platforms by full name; those of other hosts (`name@host`) are not among them."""
        return {name: build(name, options, self.settings) for name, options in self.settings.platform_names().items()}

    @cached_property
    def egress(self) -> Egress:
        """For addresses in packages (https only, from the configured hosts)."""
        return Egress(package_policy(self.settings))

    @cached_property
    def zygote(self) -> Zygote:
        return Zygote(self.settings.zygote_socket)

    @property
    def limits(self) -> Limits:
        bounds = self.settings.limits
        return Limits(bounds.job_seconds, bounds.output_bytes, bounds.output_files)

    def inspect(self, bundle: Bundle) -> Inspection:
        """Load a package in a child of the zygote: it has no secrets, and no network. Raises PackageError."""
        return self.zygote.check(bundle.to_json())
