"""Settings of an openEO platform."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class OpenEoSettings(BaseModel):
    """What an operator says of an openEO back-end.

    `url`: its address, with or without the version of the API. The account is one of: `username` and `password`
    (HTTP Basic), `client_id` and `client_secret` (OIDC client credentials), `client_id` and `refresh_token` (OIDC, of
    a person's account; an issuer that gives out another with each use needs client credentials), or none at all.
    `provider`: id of the identity provider at the back-end (default: its first).
    `mode`: batch jobs, or synchronous requests; auto: batch where the back-end has it. `sync_seconds`: the longest
    that a synchronous request may take.
    `cwl`: by which process the back-end runs CWL packages (auto: as it lists them); none: not at all.
    `budget`, `plan` and `job_options` go along with each job; what a process sets as its own options wins.
    `slots`: jobs at a time (back-ends do not tell their limit). `cores`, `ram_mib`: what the back-end gives to one
    CWL package at most, where it runs those. `visible_seconds`: how long a new job may stay out of sight there, or seem
    not to have been started.
    `upload_mib`: the largest input that is sent to the account's workspace there (`PUT /files`).
    `egress`: fields of `broker.egress.EgressPolicy` for links in results that lead to other hosts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    # those with a title are fields of the page that adds a platform
    url: str = Field(pattern=r"^https?://[^\s?#]+$", title="Address", description="Such as https://openeo.example.org")
    username: str | None = Field(default=None, title="User name", description="Where it has HTTP Basic.")
    password: SecretStr | None = Field(default=None, title="Password")
    client_id: str | None = Field(default=None, title="Client", description="Of your own, with one of the next two.")
    client_secret: SecretStr | None = Field(default=None, title="Client secret")
    refresh_token: SecretStr | None = Field(default=None, title="Refresh token", description="Of a person's account.")
    provider: str | None = Field(
        default=None, title="Identity provider", description="Its id at the back-end; empty: its first."
    )
    mode: Literal["auto", "batch", "sync"] = Field(default="auto", title="Mode")
    cwl: Literal["auto", "run_cwl_to_stac", "run_udf", "none"] = Field(default="auto", title="CWL packages by")
    sync_seconds: float = Field(default=300.0, gt=0)
    budget: float | None = Field(
        default=None, ge=0, title="Most that a job may cost", description="Sent to the back-end with each job."
    )
    plan: str | None = Field(default=None, title="Billing plan")
    job_options: dict[str, Any] = Field(default_factory=dict)
    slots: int | None = Field(default=None, ge=1)
    cores: float = Field(default=4.0, gt=0)
    ram_mib: int = Field(default=16384, ge=1)
    visible_seconds: float = Field(default=120.0, ge=0)
    upload_mib: int = Field(default=2048, ge=1)
    timeout_seconds: float = Field(default=30.0, gt=0)
    egress: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_account(self) -> OpenEoSettings:
        if (self.username is None) != (self.password is None):
            raise ValueError("username and password belong together")
        if (self.client_secret or self.refresh_token) and self.client_id is None:
            raise ValueError("client_secret and refresh_token need a client_id")
        if self.username and self.client_id:
            raise ValueError("either username and password, or a client_id")
        if self.client_id and not (self.client_secret or self.refresh_token):
            raise ValueError("client_id needs a client_secret or a refresh_token")
        return self
