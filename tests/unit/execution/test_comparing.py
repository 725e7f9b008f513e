"""Outputs of jobs against those of other jobs and of records: from the wish to the report, with real files."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
import rasterio
import zarr
from sqlalchemy import select, update

from broker.access.principal import LOCAL, Principal, Scope
from broker.egress import Egress, EgressPolicy
from broker.errors import Forbidden, InputError, NoSuchJob, QuotaExceeded, SetupError
from broker.execution import compared, comparing
from broker.execution.collect import key
from broker.execution.comparisons import MOST_OPEN, request, withdraw
from broker.jobs.model import Job
from broker.platform import OutputFile
from broker.results import confined
from broker.results.verdict import Tolerance
from broker.storage.local import LocalStorage
from broker.store import comparisons, ended, files
from broker.store.comparisons import COMPARING, DONE, FAILED, Comparison
from broker.store.database import Database
from broker.store.files import KeptFile
from broker.store.result_tables import comparisons as rows
from broker.store.tables import jobs as table
from broker.store.tables import now
from tests.peers.broker import wait_for
from tests.peers.web import WebPeer
from tests.unit.store.rows import job_row

LOOPBACK = EgressPolicy(schemes=frozenset({"http"}), allow_networks=("127.0.0.0/8",), max_bytes=10_000)
pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # the rows: tests/unit/store


@dataclass
class World:
    database: Database
    storage: LocalStorage
    scratch: Path
    egress: Egress

    def job(
        self, content: Mapping[str, bytes], outputs: Mapping[str, Any] | None = None, phase: str = "successful"
    ) -> Job:
        """One that has ended with these files."""
        job = job_row(self.database)
        for path, data in content.items():
            self.storage.keep(key(job, 1, path), io.BytesIO(data))
        ends = {"phase": phase, "finished": now(), "due_at": None, "outputs": dict(outputs or {})}
        with self.database.write() as tx:
            files.announce(tx, job.id, 1, [OutputFile(path, path) for path in content])
            files.kept(tx, job.id, [kept(path, data) for path, data in content.items()])
            tx.execute(update(table).where(table.c.id == job.id).values(ends))
        return job

    def against(self, job: Job, against: Mapping[str, Any], **tolerance: float) -> str | None:
        """Ask, and let it be made; its state from then on."""
        request(self.database, LOCAL, job.id, against, Tolerance(**tolerance))
        return self.make()

    def make(self) -> str | None:
        with self.database.write() as tx:
            taken = comparisons.claim(tx, comparing.LEASE_SECONDS)
        assert taken is not None, "nothing is due"
        state = comparing.carry_out(self.database, self.storage, self.egress, taken, self.scratch)
        assert list(self.scratch.iterdir()) == [], "files were left behind"
        return state

    def newest(self, job: Job) -> Comparison:
        with self.database.read() as tx:
            return comparisons.of_job(tx, job.id)[0]

    def report(self, job: Job) -> dict[str, Any]:
        with self.database.read() as tx:
            found = comparisons.report(tx, self.newest(job).id)
        assert found is not None
        return found

    def verdicts(self, job: Job) -> dict[str, tuple[str, str]]:
        return {one["path"]: (one["by"], one["verdict"]) for one in self.report(job)["outputs"]}

    def sentence(self, job: Job) -> str:
        (only,) = self.report(job)["outputs"]
        return str(only["sentence"])


def kept(path: str, data: bytes) -> KeptFile:
    return KeptFile(path, 1, path, True, len(data), None, hashlib.sha256(data).hexdigest())


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, LocalStorage(tmp_path / "files"), tmp_path / "scratch", Egress(LOOPBACK))


@pytest.fixture
def web() -> Iterator[WebPeer]:
    with WebPeer() as peer:
        yield peer


def of_job(job: Job) -> dict[str, Any]:
    return {"kind": "job", "id": job.id}


def record(**outputs: tuple[bytes, str | None]) -> dict[str, Any]:
    """An experiment whose outputs had these bytes and are at these addresses."""
    told = {
        name.replace("_", "."): {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "href": href}
        for name, (data, href) in outputs.items()
    }
    return {"kind": "experiment", "name": "water", "href": None, "outputs": told}


def tiff(values: Any) -> bytes:
    height, width = values.shape
    profile = {"driver": "GTiff", "width": width, "height": height, "count": 1, "dtype": values.dtype}
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile, crs="EPSG:32633", transform=rasterio.Affine(10, 0, 0, 0, -10, 0)) as file:
            file.write(values, 1)
        return bytes(memory.read())


def test_two_jobs_by_checksum_format_and_value(world: World) -> None:
    values = np.ones((20, 30), "float64")
    first = world.job({"a.txt": b"same", "x.tif": tiff(values)}, {"count": 3, "x": {"class": "File", "path": "x.tif"}})
    values[4, 5] += 0.5
    second = world.job({"a.txt": b"same", "x.tif": tiff(values)}, {"count": 4})
    assert world.against(second, of_job(first), absolute=0.6, relative=0) == DONE
    assert world.verdicts(second) == {
        "a.txt": ("checksum", "identical"),
        "x.tif": ("GeoTIFF", "equivalent"),
        "count (value)": ("bytes", "different"),
    }
    found = world.report(second)
    assert (found["left"], found["right"], found["verdict"]) == (f"job {first.id}", f"job {second.id}", "different")
    assert world.newest(second).verdict == "different"
    assert next(one for one in found["outputs"] if one["path"] == "x.tif")["picture"].startswith("iVBOR")
    with world.database.read() as tx:
        assert ended.held(tx, second.id) == []


def test_of_a_record_only_what_differs_is_fetched(world: World, web: WebPeer) -> None:
    one, other = b'{"n": 1}', b'{"n": 1.00000000001}'
    against = record(a_json=(one, web.serve("/a.json", one)), b_txt=(b"same", web.serve("/b.txt", b"same")))
    job = world.job({"a.json": other, "b.txt": b"same"}, {"n": 1})
    assert world.against(job, against) == DONE
    assert world.verdicts(job) == {"a.json": ("JSON", "equivalent"), "b.txt": ("checksum", "identical")}
    assert [seen.path for seen in web.requests] == ["/a.json"]
    assert world.report(job)["left"] == "water"


def test_without_a_checksum_the_bytes_tell(world: World, web: WebPeer) -> None:
    against = record(a_txt=(b"same", web.serve("/a.txt", b"same")))
    against["outputs"]["a.txt"]["sha256"] = None
    job = world.job({"a.txt": b"same"})
    world.against(job, against)
    assert world.verdicts(job) == {"a.txt": ("checksum", "identical")}
    against["outputs"]["a.txt"]["href"] = None
    world.against(job, against)
    assert "A checksum is not known" in world.sentence(job)


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ((b"changed since", 200), "what is there now is not what the record tells of"),
        ((b"", 404), "answered 404"),
        ((b"x" * 20_000, 200), "larger than the 10000 bytes"),
    ],
)
def test_what_is_not_there_any_more(world: World, web: WebPeer, there: tuple[bytes, int], said: str) -> None:
    href = web.serve("/a.json", there[0], status=there[1])
    job = world.job({"a.json": b"{}"})
    assert world.against(job, record(a_json=(b"{ }", href))) == DONE
    assert world.verdicts(job) == {"a.json": ("bytes", "different")}
    assert said in world.sentence(job)


@pytest.mark.parametrize(
    ("href", "said"),
    [
        ("http://169.254.169.254/secret", "may not connect to 169.254.169.254"),
        ("file:///etc/passwd", "is not allowed here"),
        (None, "the file itself is not at hand"),
    ],
)
def test_addresses_that_nobody_is_led_to(world: World, href: str | None, said: str) -> None:
    job = world.job({"a.json": b"{}"})
    assert world.against(job, record(a_json=(b"{ }", href))) == DONE
    assert said in world.sentence(job)


def test_who_does_not_answer_is_asked_again(world: World, web: WebPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "AGAIN_SECONDS", 0.0)
    href = web.serve("/a.json", b"{ }")
    web.fail("/a.json", times=1)
    job = world.job({"a.json": b"{}"})
    assert world.against(job, record(a_json=(b"{ }", href))) == COMPARING
    assert "answered 503" in world.newest(job).message
    assert world.make() == DONE
    assert world.verdicts(job) == {"a.json": ("JSON", "equivalent")}


def test_and_in_the_end_no_more(world: World, web: WebPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "AGAIN_SECONDS", 0.0)
    href = web.serve("/a.json", b"{ }")
    web.fail("/a.json", times=comparing.TRIES)
    job = world.job({"a.json": b"{}"})
    states = [world.against(job, record(a_json=(b"{ }", href)))]
    states += [world.make() for _ in range(comparing.TRIES - 1)]
    assert states == [COMPARING] * (comparing.TRIES - 1) + [DONE]
    assert "answered 503" in world.sentence(job)


def test_a_claim_is_kept_while_it_lasts(world: World, web: WebPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the bytes take to come; and what a killed process left behind is in nobody's way."""
    monkeypatch.setattr(comparing, "LEASE_SECONDS", 0.4)
    monkeypatch.setattr(comparing, "RENEW_SECONDS", 0.1)
    gate = web.stall("/a.json", after=1)
    job = world.job({"a.json": b"{}"})
    asked = request(world.database, LOCAL, job.id, record(a_json=(b"{ }", web.serve("/a.json", b"{ }"))), Tolerance())
    (world.scratch / asked / "0").mkdir(parents=True)
    (world.scratch / asked / "0" / "output.json").write_text("of an earlier try")

    def lease() -> float:
        with world.database.read() as tx:
            return float(tx.execute(select(rows.c.lease_until)).scalar_one() or 0.0)

    making = Thread(target=world.make)
    making.start()
    web.wait_for("/a.json")
    first = lease()
    wait_for(lambda: lease() > first, 20, lambda: "the lease is not renewed")
    gate.set()
    making.join(60)
    assert world.verdicts(job) == {"a.json": ("JSON", "equivalent")}


@pytest.mark.parametrize("while_", ["fetching", "judging"])
def test_one_that_is_withdrawn_is_given_up(
    world: World, web: WebPeer, monkeypatch: pytest.MonkeyPatch, while_: str
) -> None:
    """Whoever holds it up: a server that gives no more bytes but slowly, or the process that reads them."""
    monkeypatch.setattr(comparing, "RENEW_SECONDS", 0.05)
    monkeypatch.setattr(confined, "LOOK_SECONDS", 0.05)
    under_way = Event()

    def read() -> Iterator[bytes]:
        while True:
            under_way.set()
            yield b" "

    def begun(given_up: Callable[[], bool]) -> confined.Confinement:
        under_way.set()
        return confined.Confinement(None, given_up=given_up)

    monkeypatch.setattr(confined, "PROGRAM", ("sleep", "600"))
    monkeypatch.setattr(compared, "confinement", begun)
    job = world.job({"a.json": b"{}"})
    against = record(a_json=(b"{ }", web.serve("/a.json", b"{ }")))
    asked = request(world.database, LOCAL, job.id, against, Tolerance())
    if while_ == "fetching":
        monkeypatch.setattr(world.egress, "open", lambda href: read())
    ended_as: list[str | None] = []
    making = Thread(target=lambda: ended_as.append(world.make()))
    making.start()
    assert under_way.wait(30)
    assert withdraw(world.database, LOCAL, job.id).id == asked
    making.join(30)
    assert ended_as == [None], "it goes on"
    assert world.newest(job).state == FAILED


def test_a_process_that_dies_each_time_is_not_tried_for_ever(world: World) -> None:
    job = world.job({})
    request(world.database, LOCAL, job.id, record(), Tolerance())
    for _ in range(comparing.TRIES):
        with world.database.write() as tx:
            assert comparisons.claim(tx, -1.0) is not None
    world.scratch.mkdir()
    assert world.make() == FAILED
    assert "several times" in world.newest(job).message


def test_jobs_without_outputs_are_not_compared(world: World) -> None:
    good, bad, swept = world.job({}), world.job({}, phase="failed"), world.job({})
    with world.database.write() as tx:
        ended.sweep_results(tx, swept.id, "", {})
    for one, other, said in ((bad, good, "ended as failed"), (good, bad, "ended as failed"), (good, swept, "deleted")):
        assert world.against(one, of_job(other)) == FAILED
        assert said in world.newest(one).message


def test_a_store_of_many_files_is_one_output(world: World, tmp_path: Path) -> None:
    content = []
    for name, chunks in (("one", (5, 5)), ("other", (10, 10))):
        root = tmp_path / name / "cube.zarr"
        made = zarr.open_group(str(root), mode="w", zarr_format=3)
        made.create_array("t", shape=(10, 10), chunks=chunks, dtype="f8")[:] = np.arange(100.0).reshape(10, 10)
        found = (path for path in root.rglob("*") if path.is_file())
        content.append({path.relative_to(tmp_path / name).as_posix(): path.read_bytes() for path in found})
    first, second = (world.job(one) for one in content)
    assert len(content[0]) > len(content[1]) > 2
    world.against(second, of_job(first))
    assert world.verdicts(second) == {"cube.zarr": ("Zarr", "equivalent")}


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a\0b", ""])
def test_names_that_are_no_paths(world: World, path: str) -> None:
    against = record()
    against["outputs"][path] = {"sha256": "0" * 64, "size": 1, "href": None}
    job = world.job({"a.txt": b"x"})
    assert world.against(job, against) == FAILED
    assert "no path" in world.newest(job).message


def test_a_file_that_is_also_a_directory(world: World, web: WebPeer) -> None:
    """In a store whose names no disk can keep together."""
    href = web.serve("/x", b"{}")
    names = ("zarr_json", "a", "a/b")
    told = record(**{f"c/{name}": (b"{}", href) for name in names})
    job = world.job({"c/zarr.json": b"{ }"})
    assert world.against(job, told) == DONE
    assert "cannot be kept here: " in world.sentence(job)


def test_without_a_sandbox_checksums_are_compared(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(**_: Any) -> None:
        raise SetupError("Outputs are compared inside bubblewrap only: there is none.")

    monkeypatch.setattr(compared, "confinement", none)
    first, second = world.job({"a.json": b"{}", "b.txt": b"x"}), world.job({"a.json": b"{ }", "b.txt": b"x"})
    assert world.against(second, of_job(first)) == DONE
    assert world.verdicts(second) == {"a.json": ("bytes", "different"), "b.txt": ("checksum", "identical")}
    assert "bubblewrap only" in json.dumps(world.report(second))


@pytest.mark.parametrize(
    ("name", "value", "said"), [("RESERVE", 2**62, "no room"), ("SECONDS", -1.0, "had taken too long")]
)
def test_bounds_on_room_and_time(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, value: float, said: str
) -> None:
    monkeypatch.setattr(compared, name, value)
    first, second = world.job({"a.json": b"{}"}), world.job({"a.json": b"{ }"})
    assert world.against(second, of_job(first)) == DONE
    assert said in world.sentence(second)


def test_who_may_ask(world: World) -> None:
    mine, other = world.job({}), job_row(world.database, "other")
    reader = Principal(LOCAL.owner, LOCAL.project, frozenset({Scope.READ}))
    for principal, job, against, error in (
        (reader, mine, record(), Forbidden),
        (LOCAL, other, record(), NoSuchJob),
        (LOCAL, mine, of_job(other), NoSuchJob),
        (LOCAL, mine, of_job(mine), InputError),
    ):
        with pytest.raises(error):
            request(world.database, principal, job.id, against, Tolerance())
    for number in range(MOST_OPEN):
        request(world.database, LOCAL, mine.id, record(), Tolerance(relative=number))
    with pytest.raises(QuotaExceeded):
        request(world.database, LOCAL, mine.id, record(), Tolerance(relative=0.5))
