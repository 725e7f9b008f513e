"""`broker run`, `deploy` and `check` against a real broker: from files on disk to files on disk."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from broker.cli.client import Client
from tests.cli.conftest import Broker
from tests.peers.broker import BrokerPeer

pytestmark = pytest.mark.xdist_group("broker")

TOOL = """cwlVersion: v1.2
class: CommandLineTool
id: {id}
label: {label}
baseCommand: [sh, script.sh]
requirements:
  ResourceRequirement: {{coresMin: 0.1, ramMin: 16}}
  InitialWorkDirRequirement:
    listing: [{{entryname: script.sh, entry: {{$include: script.sh}}}}]
arguments: [$(inputs.data.path), $(inputs.scene.path), $(inputs.word)]
inputs:
  data: {{type: File, secondaryFiles: [.idx]}}
  scene: Directory
  word: {{type: string, default: default}}
outputs:
  copy: {{type: File, outputBinding: {{glob: copy.bin}}}}
  tree: {{type: Directory, outputBinding: {{glob: tree}}}}
  said: {{type: stdout}}
stdout: said.txt
"""
SCRIPT = """set -e
echo working >&2
cat "$1" "$1.idx" > copy.bin
mkdir tree
cp -r "$2" tree/scene
echo "$3"
"""
FAILING = """cwlVersion: v1.2
class: CommandLineTool
id: failing
baseCommand: [sh, -c]
arguments: ['echo begun; echo "no band [4]" >&2; exit $0', $(inputs.code)]
inputs: {code: int}
outputs: []
"""


@pytest.fixture
def package(alone: Path, request: pytest.FixtureRequest) -> Path:
    """A package of two files, with a job order that names local files and a directory. Its id is the test's own."""
    directory = alone / "app"
    (directory / "data" / "scene" / "deep").mkdir(parents=True)
    name = request.node.name.split("[")[0].replace("_", "-")[:60]
    (directory / "app.cwl").write_text(TOOL.format(id=name, label="one"))
    (directory / "script.sh").write_text(SCRIPT)
    (directory / "data" / "d.bin").write_bytes(b"\xff\x00" * 3000)
    (directory / "data" / "d.bin.idx").write_text("index")
    (directory / "data" / "scene" / "b4.tif").write_bytes(b"\xfe\xff")
    (directory / "data" / "scene" / "deep" / "meta.json").write_text("{}")
    (directory / "job.yml").write_text(
        "data: {class: File, path: data/d.bin}\nscene: {class: Directory, location: data/scene}\nword: hello\n"
    )
    return directory / "app.cwl"


def test_a_package_and_a_job_order_as_they_are(broker: Broker, package: Path, alone: Path) -> None:
    said = broker("run", package, package.with_name("job.yml"), "--outdir", "results")
    assert said.code == 0, said.err
    results = alone / "results"
    assert (results / "copy" / "copy.bin").read_bytes() == b"\xff\x00" * 3000 + b"index"
    assert (results / "said" / "said.txt").read_text() == "hello\n"
    assert (results / "tree" / "tree" / "scene" / "deep" / "meta.json").read_text() == "{}"
    assert "results/copy/copy.bin" in said.out
    assert "Deployed the process" in said.err
    assert "successful" in said.err


def test_results_as_json_and_nothing_else(broker: Broker, package: Path, alone: Path) -> None:
    said = broker("run", package, package.with_name("job.yml"), "--json", "-i", "word=two words", "--tag", "t1")
    assert said.code == 0
    assert said.err == ""
    found = said.json
    assert found["status"] == "successful"
    copy = found["outputs"]["copy"]
    assert Path(copy["path"]).is_relative_to(found["outdir"])
    assert Path(found["outdir"]).parent == alone
    checksum = hashlib.sha1(Path(copy["path"]).read_bytes()).hexdigest()
    assert copy["checksum"] == f"sha1${checksum}"
    [listed] = broker("jobs", "--tag", "t1", "--process", package.stem, "--json").json or [None]
    assert listed is None  # the process has another id than the file
    assert broker("jobs", "--tag", "t1", "--json").json[0]["jobID"] == found["jobID"]


def test_the_same_package_is_deployed_once_and_a_changed_one_replaced(
    broker: Broker, package: Path, client: Client
) -> None:
    first = broker("deploy", package, "--json").json
    assert first["action"] == "deployed"
    assert broker("deploy", package, "--json").json["action"] == "kept"
    package.write_text(package.read_text().replace("label: one", "label: two"))
    refused = broker("deploy", package)
    assert refused.code == 1
    assert "--replace" in refused.err
    ran = broker("run", package, package.with_name("job.yml"), "--no-download")
    assert ran.code == 0
    assert "has changed: replaced" in ran.err
    description = client.process(first["id"])
    assert description["title"] == "two"
    assert broker("deploy", package, "--replace", "--json").json["action"] == "kept"
    assert broker("undeploy", first["id"]).code == 0
    assert broker("undeploy", first["id"]).code == 1


def test_a_deployed_process_is_run_by_its_id(broker: Broker, package: Path, alone: Path) -> None:
    process = broker("deploy", package).out.strip()
    said = broker("run", process, package.with_name("job.yml"), "-o", "out")
    assert said.code == 0, said.err
    assert (alone / "out" / "copy" / "copy.bin").read_bytes().endswith(b"index")  # the secondary file was found


def test_an_execute_request_of_ogc_runs_too(broker: Broker, package: Path) -> None:
    request = {
        "inputs": {
            "data": {"class": "File", "path": "data/d.bin"},
            "scene": {"class": "Directory", "location": "data/scene"},
            "word": {"value": "wrapped"},
        },
        "outputs": {"said": {}},
        "response": "document",
    }
    file = package.with_name("request.json")
    file.write_text(json.dumps(request))
    # no secondary files are looked for here: the request says all
    request["inputs"]["data"]["secondaryFiles"] = [{"class": "File", "path": "data/d.bin.idx"}]  # type: ignore[index]
    file.write_text(json.dumps(request))
    said = broker("run", package, file, "--json")
    assert said.code == 0, said.err
    assert Path(said.json["outputs"]["said"]["path"]).read_text() == "wrapped\n"


def test_a_failure_says_whose_fault_and_shows_the_log(broker: Broker, alone: Path) -> None:
    (alone / "failing.cwl").write_text(FAILING)
    said = broker("run", "failing.cwl", "-i", "code=7")
    assert said.code == 1
    assert "exit code 7" in said.err
    assert "the package's" in said.err
    assert "no band [4]" in said.err
    assert "broker logs" in said.err
    found = broker("run", "failing.cwl", "-i", "code=8", "--json")
    assert found.code == 1
    assert found.json["failure"]["exitCode"] == 8
    assert list(alone.glob("failing-*")) == []
    results = broker("results", found.json["jobID"])
    assert results.code == 1
    assert "exit code 8" in results.err


def test_every_wrong_input_is_named(broker: Broker, package: Path) -> None:
    order = package.with_name("wrong.yml")
    order.write_text("data: 5\nscene: {class: Directory, location: data/scene}\nwrod: x\n")
    said = broker("run", package, order)
    assert said.code == 1
    assert "/inputs/data" in said.err
    assert "did you mean 'word'" in said.err
    problem = json.loads(broker("run", package, order, "--json").err)
    assert {one["pointer"] for one in problem["errors"]} >= {"/inputs/data", "/inputs/wrod"}


def test_a_package_error_names_file_and_line(broker: Broker, package: Path) -> None:
    package.write_text(package.read_text().replace("scene: Directory", "scene: Directry"))
    said = broker("run", package)
    assert said.code == 1
    assert "app.cwl:" in said.err
    assert "Directry" in said.err


def test_what_is_neither_file_nor_process_is_said(broker: Broker) -> None:
    said = broker("run", "nothing-like-this")
    assert said.code == 1
    assert "no file nothing-like-this either" in said.err


def test_no_wait_gives_the_job_to_follow(broker: Broker, package: Path, alone: Path) -> None:
    said = broker("run", package, package.with_name("job.yml"), "--no-wait", "--title", "Later")
    assert said.code == 0
    job = said.out.strip()
    followed = broker("status", "-f", job)
    assert followed.code == 0
    assert "successful" in followed.out
    assert "Later" in followed.out
    assert broker("logs", "-f", job).out == "working\n"
    steps = [json.loads(line) for line in broker("logs", job, "--json").out.splitlines()]
    assert [one["text"] for one in steps] == ["working\n"]
    shown = broker("results", job)
    assert "copy.bin" in shown.out
    assert broker("results", job, "--download", "here").code == 0
    assert (alone / "here" / "copy" / "copy.bin").stat().st_size == 6005


def test_a_subscriber_is_told(broker: Broker, package: Path, alone: Path) -> None:
    """An address of its own for one kind of end wins over the one for both."""
    (alone / "failing.cwl").write_text(FAILING)
    end, success = "https://a.invalid/end", "https://a.invalid/good"
    told = ("--subscriber", end, "--subscriber", f"success={success}", "--no-download", "--json")
    job = broker("run", package, package.with_name("job.yml"), *told).json["jobID"]
    bad = broker("run", "failing.cwl", "--id", "failing-told", "-i", "code=3", *told).json["jobID"]
    found = [
        (one["kind"], one["uri"]) for each in (job, bad) for one in broker("callback", "list", each, "--json").json
    ]
    assert found == [("success", success), ("failed", end)]
    assert broker("run", package, "--subscriber", "end=https://a.invalid/").code == 2


def test_check_finds_what_a_run_would_and_leaves_nothing(broker: Broker, package: Path, client: Client) -> None:
    before = {one["id"] for one in client.processes()}
    said = broker("check", package, package.with_name("job.yml"))
    assert said.code == 0, said.err
    assert "The inputs fit" in said.out
    assert "Can run on" in said.out
    wrong = broker("check", package, "-i", "word=1")
    assert wrong.code == 1
    assert "/inputs/scene" in wrong.err
    assert broker("check", package, "--json").json["package"]["digest"]
    assert {one["id"] for one in client.processes()} == before


def test_the_echo_process_by_the_installed_program(peer: BrokerPeer, alone: Path) -> None:
    program = Path(sys.executable).with_name("broker")
    words = [str(program), "processes", "--json", "--server", peer.url]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert "echo" in {one["id"] for one in json.loads(done.stdout)}


def test_platforms_are_listed(broker: Broker) -> None:
    assert "local@" in broker("platforms").out
    [platform] = broker("platforms", "--json").json
    assert platform["available"]


def test_a_job_is_dismissed(broker: Broker, alone: Path) -> None:
    nap = FAILING.replace("id: failing", "id: nap").replace("echo begun;", "sleep 300;")
    (alone / "nap.cwl").write_text(nap)
    job = broker("run", "nap.cwl", "-i", "code=0", "--no-wait").out.strip()
    assert broker("dismiss", job).code == 0
    said = broker("status", "-f", job)
    assert said.code == 1
    assert "dismissed" in said.out


def test_an_unknown_job_is_said(broker: Broker) -> None:
    for words in (("status",), ("logs",), ("results",), ("dismiss",)):
        said = broker(*words, "none")
        assert said.code == 1
        assert "none" in said.err


WANTS = """cwlVersion: v1.2
class: CommandLineTool
id: wants-files
baseCommand: [cat]
inputs:
  tables: {type: "File[]", inputBinding: {}}
  scene: Directory?
  one: File?
outputs: []
"""


def test_a_text_that_names_a_file_is_told_how_a_file_is_written(broker: Broker, alone: Path) -> None:
    (alone / "wants.cwl").write_text(WANTS)
    (alone / "jobs" / "data").mkdir(parents=True)
    (alone / "jobs" / "data" / "st1.csv").write_text("1")
    (alone / "st2.csv").write_text("2")
    (alone / "jobs" / "job.yml").write_text("tables: [data/st1.csv]\nscene: data\n")
    for words in (("check", "wants.cwl"), ("run", "wants.cwl")):
        said = broker(*words, "jobs/job.yml", "-i", "one=st2.csv")
        assert said.code == 1
        assert "write {class: File, path: data/st1.csv}" in said.err
        assert "-i tables=@data/st1.csv" in said.err
        assert "{class: Directory, path: data}" in said.err
        assert "-i one=@st2.csv" in said.err
    assert "-i tables=@st2.csv" in broker("check", "wants.cwl", "-i", "tables=st2.csv").err
    absent = broker("check", "wants.cwl", "-i", "tables=[nosuch.csv]")
    assert "nosuch.csv" in absent.err
    assert "class: File" not in absent.err


def test_files_and_job_orders_that_are_not_there(broker: Broker, package: Path) -> None:
    said = broker("check", "nosuch.cwl")
    assert said.code == 1
    assert "no file nosuch.cwl" in said.err
    for name in ("check", "run"):
        said = broker(name, package, "nosuch.yml")
        assert said.code == 2
        assert "nosuch.yml" in said.err
        assert "-i NAME=VALUE" in said.err
