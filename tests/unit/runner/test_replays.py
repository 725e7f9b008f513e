"""Steps that have the results of earlier ones: which do, what they give, and what is kept for how long."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from adapters.local.platform import LocalPlatform
from broker.jobs.model import JobSpec, StageItem, Step
from broker.jobs.observation import State
from broker.packages.bundle import build
from broker.runner import replaystore
from tests.peers.runner import RunnerPeer, attempt_of, ended

# Each step writes down the moment in which it ran: what is used again is the same to the nanosecond.
CHAIN = """\
cwlVersion: v1.2
class: Workflow
requirements: {InlineJavascriptRequirement: {}, ScatterFeatureRequirement: {}}
inputs: {text: File, n: {type: int, default: 1}}
outputs:
  first: {type: File, outputSource: one/out}
  tree: {type: Directory, outputSource: two/tree}
  number: {type: int, outputSource: two/number}
steps:
  one:
    in: {text: text}
    out: [out]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'cat "$0"; date +%s%N']
      inputs: {text: {type: File, inputBinding: {}}}
      outputs: {out: {type: stdout}}
      stdout: one.txt
  two:
    in: {made: one/out, n: n}
    out: [tree, number]
    run:
      class: CommandLineTool
      baseCommand: [sh, -c, 'mkdir -p tree/deep; cp "$0" tree/deep/copy.txt; date +%s%N > tree/$1.txt']
      inputs: {made: {type: File, inputBinding: {position: 1}}, n: {type: int, inputBinding: {position: 2}}}
      outputs:
        tree: {type: Directory, outputBinding: {glob: tree}}
        number: {type: int, outputBinding: {outputEval: '$(inputs.n + 1)'}}
"""

CLOCK = """\
cwlVersion: v1.2
class: CommandLineTool
%s
baseCommand: [sh, -c, '%s; date +%%s%%N']
inputs: {on: {type: boolean, default: true}}
outputs: {out: {type: stdout}}
stdout: out.txt
"""


def staged(text: str, name: str = "in.txt") -> dict[str, Any]:
    """Fields of a job with a file as its input `text`."""
    place = {"class": "File", "location": f"inputs/text/{name}", "basename": name}
    return {"stage": (StageItem(f"text/{name}", text=text),), "job_order": {"text": place}}


class Cache:
    """Jobs on a platform of their own, all of whose steps may be used again."""

    def __init__(self, runner: RunnerPeer, **settings: Any) -> None:
        self.runner = runner
        self.platform: LocalPlatform = runner.platform(**settings)
        self.specs: list[JobSpec] = []

    def run(self, package: str, state: State = State.SUCCEEDED, **fields: Any) -> dict[str, str]:
        """What the files of a job hold, by path."""
        spec = self.runner.spec(package, **{"reuse": True, "owner": self.owner, **fields})
        list(self.platform.submit(spec))
        self.specs.append(spec)
        seen = ended(self.platform, attempt_of(spec))
        assert seen.state is state, seen
        if state is not State.SUCCEEDED:
            return {}
        found = {}
        self.outputs = self.platform.collect(attempt_of(spec)).outputs
        for file in self.platform.collect(attempt_of(spec)).files:
            with self.platform.open(attempt_of(spec), file.ref) as stream:
                found[file.path] = stream.read().decode()
        return found

    owner = "me"

    def steps(self) -> dict[str, Step]:
        """Of the last job."""
        return {step.name: step for step in self.platform.steps(attempt_of(self.specs[-1]))}

    def replayed(self) -> set[str]:
        return {step.name for step in self.steps().values() if step.status == "replayed"}

    @property
    def mine(self) -> Path:
        return replaystore.of_owner(self.platform.replays, self.owner)


@pytest.fixture
def cache(runner: RunnerPeer, request: pytest.FixtureRequest) -> Cache:
    found = Cache(runner)
    found.owner = request.node.name  # nobody else's steps
    return found


def test_the_same_steps_give_the_same_files_and_do_not_run(cache: Cache) -> None:
    first = cache.run(CHAIN, **staged("hello"))
    outputs = dict(cache.outputs)
    assert cache.replayed() == set()
    assert cache.run(CHAIN, **staged("hello")) == first
    assert cache.outputs == outputs
    assert cache.replayed() == {"one", "two"}
    step = cache.steps()["two"]
    assert step.reused == cache.specs[0].job_id
    assert (step.exit_code, step.cpu_seconds, step.log) == (0, None, None)
    assert step.made[0].startswith("work/")


def test_streams_without_a_name_of_their_own_hinder_nothing(cache: Cache) -> None:
    package = CHAIN.replace("      stdout: one.txt\n", "")
    assert cache.run(package, **staged("hello")) == cache.run(package, **staged("hello"))
    assert cache.replayed() == {"one", "two"}


def test_a_step_whose_input_changed_runs_and_those_before_it_do_not(cache: Cache) -> None:
    first = cache.run(CHAIN, **staged("hello"))
    again = staged("hello")
    second = cache.run(CHAIN, stage=again["stage"], job_order={**again["job_order"], "n": 2})
    assert cache.replayed() == {"one"}
    assert second["first/one.txt"] == first["first/one.txt"]
    assert second["tree/tree/deep/copy.txt"] == first["first/one.txt"]  # what was used again is an input like any other
    assert cache.outputs["number"] == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda: staged("other"),
        lambda: staged("hello", "other.txt"),
        lambda: {**staged("hello"), "owner": "somebody"},
    ],
    ids=["content", "name", "owner"],
)
def test_what_differs_runs(cache: Cache, change: Any) -> None:
    cache.run(CHAIN, **staged("hello"))
    cache.run(CHAIN, **change())
    assert cache.replayed() == set()


def test_of_a_package_that_changed_only_what_depends_on_it_runs(cache: Cache) -> None:
    cache.run(CHAIN, **staged("hello"))
    cache.run(CHAIN.replace("tree/deep", "tree/deeper"), **staged("hello"))
    assert cache.replayed() == {"one"}
    cache.run(CHAIN.replace("date", "true; date", 1), **staged("hello"))
    assert cache.replayed() == set()
    cache.run(
        CHAIN.replace("requirements: {", "requirements: {EnvVarRequirement: {envDef: {A: b}}, "), **staged("hello")
    )
    assert cache.replayed() == set()


def test_a_job_that_does_not_ask_neither_takes_nor_leaves(cache: Cache) -> None:
    cache.run(CHAIN, reuse=False, **staged("hello"))
    assert not cache.mine.exists()
    cache.run(CHAIN, **staged("hello"))
    cache.run(CHAIN, reuse=False, **staged("hello"))
    assert cache.replayed() == set()


@pytest.mark.parametrize(
    "requirement",
    [
        "requirements: {WorkReuse: {enableReuse: false}}",
        "hints: {WorkReuse: {enableReuse: false}}",
        "requirements: {InlineJavascriptRequirement: {}, WorkReuse: {enableReuse: $(!inputs.on)}}",
        "requirements: {NetworkAccess: {networkAccess: true}}",
    ],
    ids=["requirement", "hint", "expression", "network"],
)
def test_a_step_that_says_so_runs_each_time(cache: Cache, requirement: str) -> None:
    package = CLOCK % (requirement, "true")
    assert cache.run(package) != cache.run(package)
    assert cache.replayed() == set()


def test_a_step_that_allows_it_by_an_expression_is_used_again(cache: Cache) -> None:
    allowed = "requirements: {InlineJavascriptRequirement: {}, WorkReuse: {enableReuse: $(inputs.on)}}"
    package = CLOCK % (allowed, "true")
    assert cache.run(package) == cache.run(package)


def test_steps_that_were_done_before_a_failure_are_not_done_again(cache: Cache) -> None:
    fails = CHAIN.replace("mkdir -p", "false && mkdir -p")
    cache.run(fails, State.FAILED, **staged("hello"))
    assert (cache.steps()["one"].status, cache.steps()["two"].status) == ("successful", "failed")
    cache.run(fails, State.FAILED, **staged("hello"))
    assert (cache.steps()["one"].status, cache.steps()["two"].status) == ("replayed", "failed")


def test_a_directory_and_a_file_by_value_are_known_by_what_they_hold(cache: Cache) -> None:
    package = """\
cwlVersion: v1.2
class: CommandLineTool
requirements:
  InitialWorkDirRequirement: {listing: [{entryname: script.sh, entry: "date +%s%N; ls inside"}, $(inputs.tree)]}
baseCommand: [sh, script.sh]
inputs: {tree: Directory}
outputs: {out: {type: stdout}}
stdout: out.txt
"""

    def tree(**inside: str) -> dict[str, Any]:
        items = tuple(StageItem(f"tree/inside/{name}", text=text) for name, text in inside.items())
        place = {"class": "Directory", "location": "inputs/tree/inside", "basename": "inside"}
        return {"stage": items, "job_order": {"tree": place}}

    first = cache.run(package, **tree(a="1", b="2"))
    assert cache.run(package, **tree(b="2", a="1")) == first
    assert cache.run(package, **tree(a="1", b="3")) != first
    assert cache.run(package, **tree(a="1", c="2")) != first
    assert cache.run(package.replace("date", "date -u"), **tree(a="1", b="2")) != first


def test_a_file_of_the_package_is_known_by_what_it_holds(cache: Cache) -> None:
    staging = "requirements: {InitialWorkDirRequirement: {listing: [{class: File, location: script.sh}]}}"
    package = (CLOCK % (staging, "cat script.sh")).encode()
    found = []
    for text in (b"one", b"one", b"two"):
        script: Callable[[str], bytes] = partial(lambda text, path: text, text)
        found.append(cache.run(CHAIN, bundle=build(package, read=script).to_json(), job_order={}))
    assert found[0] == found[1]
    assert found[2]["out/out.txt"].startswith("two")


@pytest.mark.parametrize(
    ("which", "harm"),
    [
        ("out/one.txt", lambda path: path.unlink()),
        ("tree/tree/deep/copy.txt", lambda path: path.unlink()),
        ("tree/tree/deep/copy.txt", lambda path: path.write_text("")),
        (replaystore.RESULT, lambda path: path.write_text("{not json")),
        (replaystore.RESULT, lambda path: path.write_text("{}")),
    ],
    ids=["file", "in-directory", "empty", "no-json", "no-result"],
)
def test_a_result_that_is_damaged_is_computed_and_kept_again(cache: Cache, which: str, harm: Any) -> None:
    first = cache.run(CHAIN, **staged("hello"))
    for path in cache.mine.glob(f"j*/*/{which}"):
        harm(path)
    second = cache.run(CHAIN, **staged("hello"))
    assert "two" not in cache.replayed()
    assert set(second) == set(first)  # what had been brought of it is gone
    last = cache.run(CHAIN, **staged("hello"))
    assert cache.replayed() == {"one", "two"}
    assert last["tree/tree/deep/copy.txt"].startswith("hello")


def test_a_result_leads_to_no_file_but_its_own(cache: Cache) -> None:
    """Whoever could write there would still not make a job give away what is elsewhere on the machine."""
    cache.run(CHAIN, **staged("hello"))
    (kept,) = cache.mine.glob("j*/*/out/one.txt")
    kept.unlink()
    kept.symlink_to("/etc/passwd")
    assert "root:" not in json.dumps(cache.run(CHAIN, **staged("hello")))


def test_what_a_job_left_is_forgotten_with_it(cache: Cache) -> None:
    first = cache.run(CHAIN, **staged("hello"))
    cache.platform.forget(cache.specs[0].job_id)
    assert not list(cache.mine.glob("j*"))
    assert not list((cache.mine / replaystore.KEYS).iterdir())
    cache.platform.forget(cache.specs[0].job_id)
    assert cache.run(CHAIN, **staged("hello")) != first


def test_a_later_job_does_without_the_one_that_ran_the_steps(cache: Cache) -> None:
    first = cache.run(CHAIN, **staged("hello"))
    cache.run(CHAIN, **staged("hello"))
    cache.platform.forget(cache.specs[0].job_id)
    cache.platform.release(attempt_of(cache.specs[0]))
    spec = cache.specs[1]
    with cache.platform.open(attempt_of(spec), "first/one.txt") as stream:
        assert stream.read().decode() == first["first/one.txt"]


def kept(root: Path, job: str, seconds_ago: float, size: int) -> None:
    def fill(place: Path) -> tuple[dict[str, Any], int]:
        place.mkdir()
        (place / "file").write_bytes(bytes(size))
        return {"outputs": {}}, size

    replaystore.add(root / "owner", job, f"key-{job}", fill)
    at = time.time() - seconds_ago
    os.utime(root / "owner" / job, (at, at))


def left(root: Path) -> set[str]:
    return {path.name for path in (root / "owner").iterdir()} - {replaystore.KEYS}


def test_another_attempt_of_the_job_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    kept(tmp_path, "a", 0.0, 1)
    kept(tmp_path, "a", 0.0, 2)
    found = replaystore.find(tmp_path / "owner", "key-a")
    assert found is not None
    assert (found[0] / "file").stat().st_size == 2


def test_what_is_too_old_goes(tmp_path: Path) -> None:
    kept(tmp_path, "old", 200.0, 1)
    kept(tmp_path, "new", 50.0, 1)
    replaystore.prune(tmp_path, 100.0, 10**6)
    assert left(tmp_path) == {"new"}
    assert replaystore.find(tmp_path / "owner", "key-old") is None
    assert replaystore.find(tmp_path / "owner", "key-new") is not None


def test_of_what_is_too_much_the_oldest_goes(tmp_path: Path) -> None:
    for number, job in enumerate(("third", "second", "first")):
        kept(tmp_path, job, 10.0 * (3 - number), 40)
    replaystore.prune(tmp_path, 1000.0, 100)
    assert left(tmp_path) == {"first", "second"}


def test_a_key_stays_with_the_job_that_has_it_now(tmp_path: Path) -> None:
    kept(tmp_path, "a", 0.0, 1)
    keys = tmp_path / "owner" / replaystore.KEYS
    (keys / "key-a").unlink()
    (keys / "key-a").symlink_to(Path("..", "b", "key-a"))
    replaystore.forget(tmp_path, "a")
    assert (keys / "key-a").is_symlink()
