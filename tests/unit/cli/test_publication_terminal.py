"""What a catalog says cannot steer the terminal of who looks at a publication."""

from __future__ import annotations

import pytest

from broker.cli.publish import _sent


def test_a_diff_has_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    text = "--- a/README.md\n+++ b/README.md\n \x1b]0;owned\x07\x9b2J\x1b[8mhidden\r\n+\tmore\n"
    _sent({"target": "osc", "files": [], "diff": text})
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\x9b", "\r"} & set(out)
    assert "+\tmore\n" in out
