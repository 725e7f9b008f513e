"""The platforms this broker knows, by kind; an adapter is loaded when one of its platforms is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from broker.errors import NoSuchPlatform, SetupError

ENTRY_POINTS = "earthcode_broker.platforms"

# kind -> "module:class of the platform", whose module also names its settings class as `Settings`
PLATFORMS: Mapping[str, str] = {
    "local": "adapters.local.platform:LocalPlatform",
    "openeo": "adapters.openeo.platform:OpenEoPlatform",
    "ogcapi": "adapters.ogcapi.platform:OgcApiPlatform",
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
    except ValidationError as error:
        # The part after @ is the host, which nobody writes into broker.toml.
        table = f"[platforms.{name.partition('@')[0]}]"
        fields = getattr(made.Settings, "model_fields", {})
        wrong = " ".join(_sentence(table, one, fields) for one in error.errors())
        # Not `from error`: its text shows all values, and some are secret.
        raise SetupError(wrong, hint="Correct it in broker.toml.") from None
    except ValueError as error:
        raise SetupError(f"The settings of platform {name!r} are not right: {error}") from error


def _sentence(table: str, wrong: ErrorDetails, fields: Mapping[str, FieldInfo]) -> str:
    """What is wrong with one setting, and what may have been meant."""
    where = ".".join(str(part) for part in wrong["loc"])
    kind, known = wrong["type"], fields.get(str(wrong["loc"][0])) if wrong["loc"] else None
    if kind == "missing":
        return f"{table} lacks the setting {where!r}."
    if kind == "extra_forbidden":
        choices = list(fields) if len(wrong["loc"]) == 1 else []
        return f"{table} has no setting {where!r}{_meant(where, choices)}"
    said = wrong["msg"][:1].lower() + wrong["msg"][1:]
    # Fields that are not to be shown hold secrets.
    value = wrong["input"] if known is not None and known.repr else None
    given = f", not {value!r}" if isinstance(value, str | int | float) else ""
    choices = re.findall(r"'([^']+)'", said) if kind == "literal_error" else []
    return f"{table} {where}: {said}{given}{_meant(str(value), choices)}"


def _meant(written: str, choices: list[str]) -> str:
    """The end of a sentence: with the choice that is nearest to what was written."""
    near = get_close_matches(written, choices, 1)
    return f"; did you mean {near[0]!r}?" if near else "."
