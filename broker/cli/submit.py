"""From a local package and job order to a job: deploy where needed, send files, execute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.cli.client import Client, bundle_unit
from broker.cli.joborder import Converter, JobOrder, Upload
from broker.cli.package import Beside, LocalPackage, secondary_files
from broker.errors import DuplicatedProcess, NoSuchProcess


@dataclass(frozen=True, slots=True)
class Deployed:
    """The process that runs a package; what was done for it (deployed, kept: it was there, replaced), and what the
    server remarked on the package."""

    process_id: str
    action: str
    warnings: tuple[str, ...] = ()


def ensure(client: Client, package: LocalPackage, process_id: str | None = None, *, replace: bool = True) -> Deployed:
    """Have the package deployed under the id: the same package is kept, another one replaced.

    Raises DuplicatedProcess where another package has the id and may not be replaced, ImmutableProcess, PackageError.
    """
    name = process_id or package.process_id
    unit = bundle_unit(package.bundle.to_json())
    try:
        digest = client.digest(name)
    except NoSuchProcess:
        try:
            made = client.deploy(unit, name)
            return Deployed(name, "deployed", tuple(made.get("warnings") or ()))
        except DuplicatedProcess as taken:  # somebody deployed it in between
            try:
                digest = client.digest(name)
            except NoSuchProcess:  # or has had it all the time, and shares it with us not
                taken.hint = f"It is somebody else's. Deploy yours under another id: --id my-{name}"
                raise taken from None
    if digest == package.bundle.digest:
        return Deployed(name, "kept")
    if not replace:
        raise DuplicatedProcess(
            f"Another package is deployed as {name}.",
            hint="Replace it with --replace, or give this one another id with --id.",
        )
    made = client.replace(name, unit)
    return Deployed(name, "replaced", tuple(made.get("warnings") or ()))


def converter(order: JobOrder, upload: Upload, package: LocalPackage) -> Converter:
    """What makes inputs of a job order for a package that lies here."""
    return Converter(order, upload, package.namespaces, secondary_files(package.process))


def described(client: Client, name: str) -> dict[str, Any]:
    """The description of a process. Raises NoSuchProcess."""
    try:
        return client.process(name)
    except NoSuchProcess as error:
        error.hint = f"There is no file {name} either. See: broker processes"
        raise


def described_converter(order: JobOrder, upload: Upload, description: Mapping[str, Any]) -> Converter:
    """What makes inputs of a job order for a process, of which we know the description only."""
    beside = {}
    for name, body in (description.get("inputs") or {}).items():
        patterns = (body.get("x-cwl") or {}).get("secondaryFiles") or []
        beside[name] = Beside([one.removesuffix("?") for one in patterns if "$(" not in one and "${" not in one])
    return Converter(order, upload, {}, beside)


def request(
    order: JobOrder,
    inputs: Mapping[str, Any],
    *,
    title: str | None = None,
    tags: Sequence[str] = (),
    platform: str | None = None,
    shared: str | None = None,
    subscriber: Mapping[str, str] | None = None,
    reuse: bool | None = None,
) -> dict[str, Any]:
    """The body of an execution: what the command line says wins over what an execute request says."""
    body: dict[str, Any] = {**(order.request or {}), "inputs": dict(inputs)}
    given = {"title": title, "tags": list(tags), "platform": platform, "shared": shared, "subscriber": subscriber}
    for name, value in given.items():
        if value:
            body[name] = value
    if reuse is not None:
        body["reuse"] = reuse
    return body
