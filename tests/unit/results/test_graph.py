"""The picture of a run is SVG that can be read, whatever is in the record."""

from __future__ import annotations

from dataclasses import replace
from xml.etree.ElementTree import fromstring

import pytest

from broker.jobs.model import Phase, Step
from broker.jobs.record import build
from broker.web.graph import MOST, described, picture
from tests.unit.results.records import CONTEXT, JOB, record

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("phase", [Phase.SUCCESSFUL, Phase.FAILED, Phase.DISMISSED])
def test_boxes_and_arrows(phase: Phase) -> None:
    root = fromstring(picture(record(phase)))
    words = [text.text for text in root.iter(f"{SVG}text")]
    assert {"scene", "items", "count", "join"} <= set(words)
    assert "2 runs" in words
    assert ("all" in words) == (phase is Phase.SUCCESSFUL)
    lines = len(list(root.iter(f"{SVG}path"))) // 2
    assert lines == (5 if phase is Phase.SUCCESSFUL else 3)  # inputs to count, count to join, join to outputs
    assert not [one for one in root.iter() if "style" in one.attrib]


def test_in_words() -> None:
    assert described(record()).startswith("Steps: count (2 runs), then join")


def test_hostile_and_many_names() -> None:
    steps = [Step(f"<script>\x00{number}x", "successful", 1.0, 2.0, 0) for number in range(1000)]
    root = fromstring(picture(build(JOB, replace(CONTEXT, steps=steps))))
    assert len(list(root.iter(f"{SVG}g"))) <= MOST
