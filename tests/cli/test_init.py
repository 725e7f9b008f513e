"""`broker init`: the template is valid, complete, and never written over."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from adapters.local.settings import LocalSettings
from broker.cli.init import TEMPLATE
from broker.execution.fleet import TERMS, terms_of
from broker.settings import Settings, load
from tests.cli.conftest import Broker

SETTING = re.compile(r"# (\w+ = .+|\[[\w.]+\])\Z")


def test_the_file_as_written_changes_nothing(command: Broker, alone: Path) -> None:
    before = load()
    assert command("init", "--config", alone / "broker.toml").code == 0
    assert load().model_dump() == before.model_dump()
    assert (alone / "broker.toml").stat().st_mode & 0o777 == 0o600


def test_every_line_that_is_commented_out_is_a_valid_setting(alone: Path) -> None:
    file = alone / "all.toml"
    file.write_text("\n".join(SETTING.sub(r"\1", line) for line in TEMPLATE.splitlines()))
    settings = load(file)
    assert settings.api.port == 8080
    assert settings.storage.s3 is not None
    given = {key: value for key, value in settings.platforms["local"].items() if key not in ("adapter", TERMS)}
    assert terms_of(settings.platforms["local"]).near == ("https://data.example.org/sentinel", "s3://scenes")
    LocalSettings.model_validate({"root": "/r", "socket": "/s", **given})


def test_every_setting_is_in_the_file() -> None:
    def names(model: type[BaseModel]) -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            kind = field.annotation
            nested = isinstance(kind, type) and issubclass(kind, BaseModel)
            found |= names(kind) if nested else {name}  # type: ignore[arg-type]
        return found

    lacking = {name for name in names(Settings) if not re.search(rf"^(# )?\[?{name}\b|\.{name}[.\]]", TEMPLATE, re.M)}
    assert lacking - {"platforms", "s3"} == set()


@pytest.mark.parametrize("force", [False, True])
def test_a_file_that_is_there_is_kept_without_force(command: Broker, alone: Path, force: bool) -> None:
    file = alone / "broker.toml"
    file.write_text("# mine\n")
    said = command("init", *(["--force"] if force else []), "--config", file)
    assert said.code == (0 if force else 1)
    assert (file.read_text() == "# mine\n") is not force
    assert force or "--force" in said.err
