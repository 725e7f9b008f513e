"""Settings of platforms that are not right: a sentence per field, without what is secret."""

from __future__ import annotations

from typing import Any

import pytest

from adapters import make_platform
from broker.errors import SetupError


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"sofware": ["/x"]}, "[platforms.local] has no setting 'sofware'; did you mean 'software'?"),
        ({"isolation": "bubblewarp"}, "not 'bubblewarp'; did you mean 'bubblewrap'?"),
        ({"cores": "many"}, "[platforms.local] cores: input should be a valid integer"),
        ({"socket": None}, "[platforms.local] socket: "),
    ],
)
def test_a_wrong_setting_is_a_sentence(more: dict[str, Any], words: str) -> None:
    with pytest.raises(SetupError) as caught:
        make_platform("local", "local@host", {"root": "/r", "socket": "/s", **more})
    said = str(caught.value)
    assert words in said
    assert "pydantic" not in said
    assert "@host" not in said


def test_every_wrong_setting_is_said_and_no_secret() -> None:
    with pytest.raises(SetupError) as caught:
        make_platform("local", "local", {"root": "/r", "nice": 99, "s3": {"*": "hunter2"}})
    said = str(caught.value)
    assert "lacks the setting 'socket'" in said
    assert "nice: input should be less than or equal to 19, not 99." in said
    assert "s3.*" in said
    assert "hunter2" not in said
