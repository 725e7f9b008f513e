"""What is printed of a publication: nothing that a catalog says steers the terminal."""

from __future__ import annotations

import pytest

from broker.cli.publish import _drafted, _sent


def test_a_diff_has_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    text = "--- a/README.md\n+++ b/README.md\n \x1b]0;owned\x07\x9b2J\x1b[8mhidden\r\n+\tmore\n"
    _sent({"target": "osc", "files": [], "diff": text})
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\x9b", "\r"} & set(out)
    assert "+\tmore\n" in out


def test_a_target_that_has_it_all_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    _drafted({"ok": True, "findings": [], "targets": [{"target": "osc", "files": [], "diff": ""}]}, True, False)
    told = capsys.readouterr()
    assert "osc has all of it already" in told.err
    assert told.out == ""
