"""Settings of a local platform."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _memory_mib() -> int:
    """80 % of this machine's memory."""
    return max(256, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 8 // 10 // 2**20)


def _directories(value: Any) -> Any:
    """An environment variable names them as PATH does."""
    return tuple(value.split(os.pathsep)) if isinstance(value, str) else value


class LocalSettings(BaseModel):
    """What an operator may say of a local platform.

    `root` holds one directory per job, `socket` is where the runner's zygote listens. `cores` and `ram_mib` are what
    all jobs together may use. `isolation`: auto (images in containers, all else in bubblewrap), or one kind for all;
    `process` is for development only. `software`: directories that tools without an image see read-only beside the
    system's programs, their `bin` first on PATH. `network`: whether a tool that asks for network access gets it
    (None: only where one person uses the broker). `processes`: of one job at a time, threads counted. `shared`: whether
    several people use the broker, so that no tool runs as a plain process; the broker sets it.
    `egress`: fields of `broker.egress.EgressPolicy` for the fetching of inputs; `s3`: fields of
    `broker.storage.signing.S3Account` by bucket, "*" for all others. `insecure_registries`: without TLS.
    `replay_days`, `replay_bytes`: for how long, and how much of, what steps gave is kept for later jobs that may use it
    again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: Path
    socket: Path
    cores: int = Field(default_factory=lambda: len(os.sched_getaffinity(0)), ge=1)
    ram_mib: int = Field(default_factory=_memory_mib, ge=1)
    isolation: Literal["auto", "container", "bubblewrap", "process"] = "auto"
    engine: Literal["auto", "podman", "docker", "apptainer", "none"] = "auto"
    engine_args: tuple[str, ...] = ()
    software: Annotated[tuple[Path, ...], BeforeValidator(_directories)] = ()
    network: bool | None = None
    processes: int = Field(default=4096, ge=16)
    nice: int = Field(default=10, ge=0, le=19)
    slots: int | None = Field(default=None, ge=1)
    egress: dict[str, Any] = Field(default_factory=dict)
    s3: dict[str, dict[str, Any]] = Field(default_factory=dict, repr=False)
    insecure_registries: tuple[str, ...] = ()
    replay_days: float = Field(default=30.0, ge=0)
    replay_bytes: int = Field(default=20 * 2**30, ge=0)
    shared: Callable[[], bool] = Field(default=lambda: False, exclude=True)
