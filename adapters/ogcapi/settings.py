"""Settings of a platform that is another OGC API - Processes server."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr


def _address(url: str) -> str:
    if not url.startswith(("https://", "http://")) or "@" in url or "?" in url:
        raise ValueError("it is not the address of a server: https://host/path, without user and query")
    return url.rstrip("/")


class TrialSettings(BaseModel):
    """What tries the server end to end: a process (its id there, or its address), and inputs for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    process: str = Field(min_length=1, max_length=2000)
    inputs: dict[str, Any] = Field(default_factory=dict)


class OgcApiSettings(BaseModel):
    """What an operator may say of such a server.

    `url`: of its landing page. `token` (a bearer), or `username` and `password`, or `headers` are the account that all
    jobs run under. `deploys`: whether CWL packages are deployed there (None: as its conformance classes say). `cores`,
    `ram_mib`, `gpu`: the largest step that it runs, as far as its operator says. `seconds`: for one answer, which for a
    process that runs synchronously only is its whole run. `outputs`: addresses (https, s3) below which the server keeps
    results, besides its jobs': the accounts are shown there too. `value_bytes`: of an input file that is sent by value,
    because the server cannot fetch it from here. `trial`: what `broker platforms check` runs there (None: a package
    where it takes such, else a process whose description says with which inputs). `callbacks`: gives the address for
    the server's notices about a job (None: it is asked only); the broker sets it. `egress` and `s3`: as of a local
    platform.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # those with a title are fields of the page that adds a platform
    url: Annotated[str, AfterValidator(_address)] = Field(
        title="Address", description="Of its landing page, such as https://processes.example.org"
    )
    token: SecretStr | None = Field(default=None, repr=False, title="Token", description="Sent as Bearer.")
    username: str | None = Field(default=None, title="User name", description="In place of a token.")
    password: SecretStr | None = Field(default=None, repr=False, title="Password")
    headers: dict[str, SecretStr] = Field(default_factory=dict, repr=False)
    deploys: bool | None = Field(
        default=None, title="Takes CWL packages", description="Empty: as its conformance classes say."
    )
    cores: float = Field(default=4096.0, gt=0)
    ram_mib: int = Field(default=64 * 2**20, ge=1)
    gpu: bool = False
    slots: int | None = Field(default=None, ge=1)
    seconds: float = Field(default=30.0, gt=0, le=600)
    outputs: tuple[str, ...] = Field(
        default=(),
        title="Places of results",
        description="Besides its jobs: https and s3 addresses, a line each. The account is shown there too.",
    )
    value_bytes: int = Field(default=8 * 2**20, ge=0)
    trial: TrialSettings | None = None
    ca_file: Path | None = None
    egress: dict[str, Any] = Field(default_factory=dict)
    s3: dict[str, dict[str, Any]] = Field(default_factory=dict, repr=False)
    callbacks: Callable[[str], str] | None = Field(default=None, exclude=True)

    def account(self) -> dict[str, str]:
        """The header fields that say who asks."""
        fields = {name: value.get_secret_value() for name, value in self.headers.items()}
        if self.token is not None:
            fields["Authorization"] = f"Bearer {self.token.get_secret_value()}"
        elif self.username is not None:
            secret = self.password.get_secret_value() if self.password else ""
            fields["Authorization"] = "Basic " + base64.b64encode(f"{self.username}:{secret}".encode()).decode()
        return fields
