"""What an operator says about publishing: the repositories and catalogs that there are, and who has to agree."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from broker.results.osc import HOME

Address = Annotated[str, Field(pattern=r"^https?://[^\s@]+$")]
Remote = Annotated[str, Field(pattern=r"^((https?|ssh|file)://|/)\S+$")]


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Destination(Frozen):
    """What all targets have. `title`: what people read; `contact`: who gives rights there; `test`: what is published
    there counts for nothing; `promotes_to`: the target that it may go on to from there; `approval`: whether somebody
    has to agree before anything is sent (`Publishers.may_approve` says who)."""

    title: str = ""
    contact: str = "the operator of this broker"
    test: bool = False
    promotes_to: str | None = None
    approval: bool = False


class PrrRepository(Destination):
    """A results repository with EOEPCA's reg-api. `reg_api`, `stac`: its write and its read interface; `bucket`: the
    staging area of a user at `s3_endpoint`; `collection`: where the request names none."""

    kind: Literal["prr"] = "prr"
    contact: str = "earth-code@esa.int"
    reg_api: Address
    stac: Address
    s3_endpoint: Address
    s3_region: str = "us-east-1"
    bucket: str = "sg-{user}-generic"
    collection: str | None = None


class StacApiRepository(Destination):
    """A STAC API with transactions, for items whose data lies elsewhere."""

    kind: Literal["stac-api"] = "stac-api"
    address: Address
    collection: str | None = None


class PackageRepository(Destination):
    """The repository's own application package, deployed here as `process`, which runs as a job of who publishes."""

    kind: Literal["prr-package"] = "prr-package"
    contact: str = "earth-code@esa.int"
    process: str
    stac: Address
    collection: str | None = None


class GitCatalog(Destination):
    """A catalog in any git repository. `base`: its live branch; `home`: where its files are read once they are live."""

    kind: Literal["git"] = "git"
    remote: Remote
    base: str = "main"
    home: Address = HOME


class GitHubCatalog(Destination):
    """A catalog on GitHub: `repository` is `owner/name`; `api`, `web`: addresses of GitHub; `remote`: where everybody
    reads it (None: below `web`)."""

    kind: Literal["github"] = "github"
    repository: str = Field(pattern=r"^[A-Za-z0-9_-]{1,39}/[A-Za-z0-9._-]{1,100}$")
    base: str = "main"
    home: Address = HOME
    api: Address = "https://api.github.com"
    web: Address = "https://github.com"
    remote: Remote | None = None


class BundleCatalog(Destination):
    """A zip file with all changes for a catalog, which a person proposes there; `remote`, `base`: the catalog."""

    kind: Literal["bundle"] = "bundle"
    remote: Remote
    base: str = "main"
    home: Address = HOME


Repository = PrrRepository | StacApiRepository | PackageRepository  # these take items
Catalog = GitCatalog | GitHubCatalog | BundleCatalog  # these take records
Proposing = GitCatalog | GitHubCatalog  # where somebody merges what is proposed


class Publishing(Frozen):
    """`targets` by name; `defaults`: members of every request that nobody says otherwise (project, themes, licence,
    contacts ...); `observe_minutes`: between two looks at a proposal; `vocabulary_minutes`: how long what a catalog
    knows (projects, themes, variables, missions) is not asked for again."""

    targets: dict[str, Annotated[Repository | Catalog, Field(discriminator="kind")]] = Field(default_factory=dict)
    defaults: dict[str, Any] = Field(default_factory=dict)
    observe_minutes: float = Field(5.0, gt=0)
    vocabulary_minutes: float = Field(10.0, ge=0)

    @model_validator(mode="after")
    def _promotions(self) -> Self:
        for name, target in self.targets.items():
            other = self.targets.get(target.promotes_to or "")
            if target.promotes_to is None:
                continue
            if other is None:
                raise ValueError(f"{name} promotes to {target.promotes_to!r}, which is no target")
            if not (target.test and isinstance(target, Proposing)) or other.test or not isinstance(other, Proposing):
                raise ValueError(f"{name} cannot promote to {target.promotes_to}: only a test catalog to a live one")
        return self
