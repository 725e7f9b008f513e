"""Uploads to a real broker: whole or in pieces, taken up again after what networks do."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from broker.cli import uploads
from broker.cli.client import Client
from broker.cli.uploads import Uploader, media_type
from broker.errors import InputError, QuotaExceeded
from tests.cli.conftest import Broker

pytestmark = pytest.mark.xdist_group("broker")


class Faulty(HTTPAdapter):
    """Loses requests before they are sent, or answers after they were: one fault for each PATCH, in turn."""

    def __init__(self, *faults: str) -> None:
        super().__init__()
        self.faults = list(faults)
        self.patches = 0

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if request.method != "PATCH":
            return super().send(request, *args, **kwargs)
        self.patches += 1
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "unsent":
            raise requests.ConnectionError("broken")
        answer = super().send(request, *args, **kwargs)
        if fault == "unanswered":
            answer.close()
            raise requests.ConnectionError("broken")
        return answer


def kept(client: Client, href: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = client.json("GET", href)
    assert found["complete"]
    return found


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that goes in five pieces."""
    monkeypatch.setattr(uploads, "WHOLE", 1000)
    monkeypatch.setattr(uploads, "PIECE", 100_000)
    file = tmp_path / "scène 1.tif"
    file.write_bytes(bytes(range(250)) * 1900)
    return file


def test_a_small_file_goes_whole(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    file.write_bytes(b"\xff" * 10_000)
    told: list[tuple[int, int]] = []
    href = Uploader(client, lambda path, done, total: told.append((done, total)))(file, "b.tif")
    found = kept(client, href)
    assert (found["name"], found["size"], found["type"]) == ("b.tif", 10_000, "image/tiff; application=geotiff")
    assert found["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert told[-1] == (10_000, 10_000)


def test_a_large_file_goes_in_pieces(client: Client, large: Path) -> None:
    told: list[int] = []
    href = Uploader(client, lambda path, done, total: told.append(done))(large, large.name)
    found = kept(client, href)
    assert found["sha256"] == hashlib.sha256(large.read_bytes()).hexdigest()
    assert found["name"] == large.name
    assert told == sorted(told)
    assert len(set(told)) > 5


@pytest.mark.parametrize("faults", [("unsent",), ("unanswered",), ("", "unanswered", "unsent", "", "unanswered")])
def test_what_breaks_off_is_taken_up(client: Client, large: Path, faults: tuple[str, ...]) -> None:
    adapter = Faulty(*faults)
    client.session.mount("http://", adapter)
    href = Uploader(client, pause=0.0)(large, large.name)
    assert kept(client, href)["sha256"] == hashlib.sha256(large.read_bytes()).hexdigest()
    # what arrived is not sent again; only what was lost before it was sent
    assert adapter.patches == 5 + faults.count("unsent")


def test_each_file_is_sent_once(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "a.bin"
    file.write_bytes(b"\xff")
    uploader = Uploader(client)
    assert uploader(file, "a.bin") == uploader(tmp_path / "." / "a.bin", "a.bin")
    assert uploader(file, "a.bin") != uploader(file, "other.bin")


def test_a_file_that_cannot_be_read_is_said(client: Client, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone cannot be read"):
        Uploader(client)(tmp_path / "gone", "gone")


def test_a_file_over_quota_is_refused_before_it_is_sent(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "huge"
    with file.open("wb") as sink:
        sink.truncate(300 * 2**30)
    with pytest.raises((QuotaExceeded, Exception), match=r"(?i)at most|quota|bytes"):
        Uploader(client)(file, "huge")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.TIF", "image/tiff; application=geotiff"),
        ("a.geojson", "application/geo+json"),
        ("a", "application/octet-stream"),
        ("a.csv", "text/csv"),
    ],
)
def test_media_types(name: str, kind: str) -> None:
    assert media_type(name) == kind


def test_files_are_sent_listed_and_removed(broker: Broker, alone: Path, client: Client) -> None:
    for name in ("one.txt", "two.tif"):
        (alone / name).write_text(name)
    sent = broker("upload", "add", "one.txt", "two.tif")
    assert sent.code == 0, sent.err
    first, second = sent.out.split()
    assert kept(client, first)["name"] == "one.txt"
    ids = [href.rpartition("/")[2] for href in (first, second)]
    listed = broker("upload", "list").out
    assert all(one in listed for one in (*ids, "one.txt", "two.tif"))
    assert broker("upload", "remove", first).code == 0
    assert broker("upload", "remove", ids[1], "--json").json == {"id": ids[1], "removed": True}
    assert not [one for one in broker("upload", "list", "--json").json if one["id"] in ids]
    assert broker("upload", "remove", first).code == 1
    assert "broker run -i NAME=@DIRECTORY" in broker("upload", "add", alone).err
    assert broker("upload", "add", "three").code == 2
