"""Images: from which registries they may come, and which digest a tag has at the moment a package is deployed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from broker.access.credential import Kind, Secret
from broker.access.principal import Principal
from broker.access.vault import Vault
from broker.egress import Egress
from broker.errors import EgressRefused, PackageError, StagingError
from broker.execution import credentials
from broker.execution.registries import Registry
from broker.packages.images import Reference, allowed
from broker.store.database import Database

LONGEST_PINNING = 30.0  # seconds that a deployment waits for registries, all images together
MOST_IMAGES = 100


@dataclass(frozen=True)
class Images:
    """The operator's rules for images, and what asks registries. `insecure`: registries without TLS; `meant`: the
    digests that some images (full spelling) had when they ran, for whoever wants those again."""

    registries: tuple[str, ...]
    insecure: tuple[str, ...]
    pinning: bool
    egress: Egress
    database: Database
    vault: Vault
    meant: Mapping[str, str] = field(default_factory=dict)

    def check(self, images: Iterable[str]) -> dict[str, Reference]:
        """Each image read. Raises PackageError for one that is no reference, or of a registry that is not allowed."""
        found = {image: Reference.parse(image) for image in sorted(images)}
        if len(found) > MOST_IMAGES:
            raise PackageError(f"The package names {len(found)} images; at most {MOST_IMAGES} are taken.")
        for image, reference in found.items():
            if not allowed(reference, self.registries):
                raise PackageError(
                    f"The image {image} is from {reference.host}, and this broker takes none from there.",
                    hint=f"Push it to one of these, or ask the operator: {', '.join(self.registries) or 'none'}.",
                )
        return found

    def pin(self, principal: Principal, images: Iterable[str]) -> tuple[dict[str, str], tuple[str, ...]]:
        """The digest of each image whose registry tells it now, and a sentence for each other one.

        Raises PackageError as `check` does.
        """
        digests: dict[str, str] = {}
        warnings: list[str] = []
        silent: dict[str, str] = {}  # registries that were asked in vain: they are not asked again
        until = time.monotonic() + LONGEST_PINNING
        for image, reference in self.check(images).items():
            if digest := reference.digest or (None if reference.local else self.meant.get(str(reference))):
                digests[image] = digest
            if digest or reference.local or not self.pinning:
                continue
            try:
                if reference.host in silent or time.monotonic() > until:
                    raise StagingError(silent.get(reference.host, "there was no time left to ask"))
                digests[image] = self._digest(principal, reference)
            except (EgressRefused, StagingError) as error:
                why = error.detail.rstrip(".")
                if getattr(error, "status", None) is None:
                    silent[reference.host] = why
                warnings.append(
                    f"The image {image} could not be pinned ({why}): each job runs what the tag means then. "
                    "Deploy again later, or name it by digest."
                )
        return digests, tuple(warnings)

    def _digest(self, principal: Principal, image: Reference) -> str:
        registry = Registry(
            self.egress, image.host, self._account(principal, image.host), insecure=image.host in self.insecure
        )
        return registry.digest(image)

    def _account(self, principal: Principal, host: str) -> Secret | None:
        with self.database.read() as tx:
            return credentials.find(tx, self.vault, principal.owner, principal.project, Kind.REGISTRY, host)
