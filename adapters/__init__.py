"""The platforms this broker knows, by kind; an adapter is loaded when one of its platforms is."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from broker.errors import NoSuchPlatform, SetupError

ENTRY_POINTS = "earthcode_broker.platforms"

# kind -> "module:class of the platform", whose module also names its settings class as `Settings`
PLATFORMS: Mapping[str, str] = {
    "local": "adapters.local.platform:LocalPlatform",
}


def kinds() -> list[str]:
    """All kinds, ours and those of installed distributions."""
    return sorted({*PLATFORMS, *(point.name for point in entry_points(group=ENTRY_POINTS))})


def platform_class(kind: str) -> Any:
    """The class of a kind. Raises NoSuchPlatform, SetupError where it is named but cannot be loaded."""
    target = PLATFORMS.get(kind)
    if target is None:
        for point in entry_points(group=ENTRY_POINTS, name=kind):
            target = point.value
            break
        else:
            raise NoSuchPlatform(f"There is no kind of platform {kind!r}.", hint=f"Known are: {', '.join(kinds())}.")
    module, _, name = target.partition(":")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise SetupError(f"The platform kind {kind!r} cannot be loaded from {target}: {error}") from error


def make_platform(kind: str, name: str, settings: Mapping[str, Any]) -> Any:
    """A platform of a kind with its settings checked. Raises NoSuchPlatform, SetupError."""
    made = platform_class(kind)
    try:
        return made(name, made.Settings(**settings))
    except ValueError as error:  # pydantic's ValidationError is one
        raise SetupError(f"The settings of platform {name!r} are not right: {error}") from error
