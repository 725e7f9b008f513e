"""Loading is not executing: a stranger's document is read where there is nothing to get and little to use up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from broker.errors import BrokerError, LimitError, PackageError
from broker.packages import cwl
from broker.packages.deployment import answered
from broker.runner import check, client, frames, kernel, loading
from broker.runner.client import MAX_READS, Zygote
from tests.api.conftest import Around
from tests.api.server import Server
from tests.peers.broker import wait_for
from tests.peers.packs import BLOB, answer, entry, packed
from tests.peers.runner import ECHO, SLEEP, RunnerPeer, attempt_of, shell
from tests.peers.web import WebPeer

SECRET = "canary-of-the-host"
TOOL = "cwlVersion: v1.2\nclass: CommandLineTool\nbaseCommand: x\ninputs: []\noutputs: []\n"
YAML = "application/cwl+yaml"


def read(runner: RunnerPeer, text: str | bytes, media: str = YAML, fetch: Callable[[str], bytes] | None = None) -> Any:
    return Zygote(runner.socket).read(text if isinstance(text, bytes) else text.encode(), media, None, fetch)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text(SECRET)
    return path


@pytest.mark.parametrize(
    "text",
    [
        TOOL + "doc: {$include: 'file://{secret}'}\n",
        TOOL + "doc: {$include: '{secret}'}\n",
        TOOL + "doc: {$include: '../../../../../../../../../..{secret}'}\n",
        TOOL + "doc: {$import: 'file://{secret}'}\n",
        TOOL + "doc: {$include: 'FILE:{secret}'}\n",
        TOOL + "doc: {$include: 'file://localhost{secret}'}\n",
        TOOL + "$schemas: ['file://{secret}']\n",
        TOOL + "requirements: {SchemaDefRequirement: {types: [{$import: 'file://{secret}'}]}}\n",
        TOOL + "requirements: {InitialWorkDirRequirement: {listing: [{entry: {$include: '{secret}'}}]}}\n",
        TOOL + "requirements: {InlineJavascriptRequirement: {expressionLib: [{$include: 'file://{secret}'}]}}\n",
        TOOL.replace("inputs: []", "inputs: {a: {type: File, default: {class: File, location: 'file://{secret}'}}}"),
        TOOL.replace("inputs: []", "inputs: {a: {type: File, default: {class: File, path: '{secret}'}}}"),
        "cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nsteps: {a: {in: [], out: [], run: 'file://{secret}'}}\n",
        "cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nsteps: {a: {in: [], out: [], run: '{secret}'}}\n",
        "$import: 'file://{secret}'\n",
        "$graph: {$import: 'file://{secret}'}\ncwlVersion: v1.2\n",
        TOOL + "$namespaces: {x: 'file://{secret}#'}\nx:doc: {$include: 'x:'}\n",
    ],
)  # fmt: skip
def test_files_of_the_host(runner: RunnerPeer, secret: Path, text: str) -> None:
    """Neither in what is kept of the package nor in what is said of it."""
    try:
        deployment, inspection = read(runner, text.replace("{secret}", str(secret)))
        found = json.dumps([deployment.to_json(), inspection.to_json()])
    except BrokerError as error:
        found = f"{error}"
    assert SECRET not in found


@pytest.mark.parametrize(
    "reference",
    [
        "http://127.0.0.1:{port}/x.cwl",
        "https://127.0.0.1:{port}/x.cwl",
        "HTTP://localhost:{port}/x.cwl",
        "//127.0.0.1:{port}/x.cwl",
        "ftp://127.0.0.1:{port}/x.cwl",
        "http://u:p@127.0.0.1:{port}/x.cwl",
    ],
)
@pytest.mark.parametrize("how", ["run", "import", "include", "schemas", "link"])
def test_addresses_of_the_machine(siege: Server, web: WebPeer, how: str, reference: str) -> None:
    """With the policy as it comes: no request reaches a server on loopback, whatever of a package names it."""
    url = reference.format(port=web.port)
    step = (
        f"cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nsteps: {{a: {{in: [], out: [], run: '{url}'}}}}\n"
    )
    texts = {
        "run": step,
        "import": TOOL + f"requirements: {{SchemaDefRequirement: {{types: [{{$import: '{url}'}}]}}}}\n",
        "include": TOOL + f"doc: {{$include: '{url}'}}\n",
        "schemas": TOOL + f"$schemas: ['{url}']\n",
        "link": json.dumps({"executionUnit": {"href": url, "type": "application/cwl"}}),
    }
    media = "application/ogcapppkg+json" if how == "link" else YAML
    answer = siege.post("/check", data=texts[how], headers={"Content-Type": media})
    assert answer.status_code in ((400, 200) if how == "schemas" else (400,)), answer.text
    assert web.requests == []


@pytest.fixture
def web() -> Iterator[WebPeer]:
    with WebPeer() as peer:
        peer.serve("/x.cwl", TOOL.encode())
        yield peer


@pytest.fixture(scope="module")
def siege(sqlite_migrated: Path, tmp_path_factory: pytest.TempPathFactory, around: Around) -> Iterator[Server]:
    """An API as it comes, which no test changes."""
    state = tmp_path_factory.mktemp("siege")
    shutil.copyfile(sqlite_migrated, state / "one.db")
    with around.server(f"sqlite:///{state / 'one.db'}", state) as server:
        yield server


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))


INDENTED = "".join(f"      {line}\n" for line in BOMB.splitlines())


@pytest.mark.parametrize(
    "text",
    [
        TOOL + BOMB,
        TOOL.replace("inputs: []", f"inputs:\n  a:\n    type: Any\n    default:\n{INDENTED}"),
        TOOL + "x: " + "[" * 5000,
        "{" * 100_000,
        TOOL + "x: &a [*a]\n",
        TOOL + "doc: !!python/object/apply:os.system ['id']\n",
        TOOL + "x: " + "9" * 1_000_000 + "\n",
        TOOL + "".join(f"k{n}: v\n" for n in range(120_000)),
        "cwlVersion: v1.2\nclass: Workflow\ninputs: []\noutputs: []\nsteps:\n"
        + "".join(f"  s{n}: {{in: [], out: [], run: '#t'}}\n" for n in range(10_000)),
        b"\xff\xfe\x00",
        b"\x00" * 1000,
        TOOL + "# " + "x" * (3 * 2**20),
    ],
    ids=["aliases", "default", "depth", "braces", "circle", "tag", "number", "nodes", "steps", "utf16", "nul", "size"],
)
def test_documents_that_use_things_up(runner: RunnerPeer, text: str | bytes) -> None:
    begin = time.monotonic()
    try:
        found = read(runner, text)
    except (PackageError, LimitError) as error:
        assert len(str(error)) < 2000  # noqa: PT017
    else:
        assert len(json.dumps(found[1].to_json())) < 2**21  # a long number is a text of that length
    assert time.monotonic() - begin < 10
    assert runner.answers()


def test_imports_are_counted_by_the_parent_too(runner: RunnerPeer) -> None:
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return (TOOL + f"doc: {{$include: 'https://h.example.org/{len(asked)}'}}\n").encode()

    text = TOOL + "".join(f"k{n}: {{$import: 'https://h.example.org/i{n}'}}\n" for n in range(100))
    with pytest.raises(LimitError):
        read(runner, text, fetch=fetch)
    assert len(asked) <= MAX_READS


def test_a_child_that_was_taken_over_reads_no_more_than_that() -> None:
    ours, theirs = socket.socketpair()
    asked: list[str] = []

    def fetch(url: str) -> bytes:
        asked.append(url)
        return b""

    for url in (*(f"https://h.example.org/{n}" for n in range(MAX_READS + 5)), "file:///etc/passwd"):
        frames.send(theirs, {"read": url})
    frames.send(theirs, {"ok": True}, b"{}")
    with ours, theirs, ours.makefile("rb") as stream:
        client._conversation(ours, stream, fetch, None, time.monotonic() + 10)
    assert len(asked) == MAX_READS


@pytest.mark.parametrize("first", ["https://h.example.org/x", "file:///etc", "https://u:p@h.example.org/x", 5])
def test_a_child_that_was_taken_over_clones_once(first: object) -> None:
    ours, theirs = socket.socketpair()
    asked: list[str] = []

    def clone(repository: str, commit: str) -> bytes:
        asked.append(repository)
        raise PackageError("not now")

    for repository in (first, *(f"https://h.example.org/{n}" for n in range(5))):
        frames.send(theirs, {"clone": repository, "commit": "ab" * 20})
    frames.send(theirs, {"ok": True}, b"{}")
    with ours, theirs, ours.makefile("rb") as stream:
        client._conversation(ours, stream, None, clone, time.monotonic() + 10)
    assert asked == (["https://h.example.org/x"] if first == "https://h.example.org/x" else [])


HUGE = {
    "a bomb": (packed(entry(BLOB, bytes(2**20), size=2**40)), LimitError, "MiB"),
    "as much as may be": (packed(*(entry(BLOB, bytes([n]) * 31 * 2**20) for n in range(4))), PackageError, "nothing"),
}


@pytest.mark.parametrize("case", HUGE)
def test_a_commit_is_read_where_nothing_can_be_reached(runner: RunnerPeer, case: str) -> None:
    """What a git server sends is taken apart in the child, whose memory it may fill, not ours."""
    sent, kind, words = HUGE[case]
    unit = {"repository": "https://h.example.org/x", "commit": "ab" * 20, "path": "a.cwl"}
    body = json.dumps({"executionUnit": unit}).encode()
    asked: list[str] = []

    def clone(repository: str, commit: str) -> bytes:
        asked.append(f"{repository}@{commit}")
        return answer(sent)

    with pytest.raises(kind, match=words):
        Zygote(runner.socket).read(body, "application/ogcapppkg+json", clone=clone)
    assert asked == [f"https://h.example.org/x@{'ab' * 20}"]


def probe(nowhere: Path, look: Callable[[], Any]) -> Any:
    """What a function gives in a child that is shut in as the readers of packages are."""
    nowhere.mkdir(exist_ok=True)
    ours, theirs = socket.socketpair()

    def child() -> int:
        kernel.shut_in(nowhere, keep=(0, 1, 2, theirs.fileno()))
        kernel.limit(memory=check.MEMORY, cpu=check.CPU, files=check.DESCRIPTORS, written=0, processes=0)
        frames.send(theirs, {"found": look()})
        return 0

    pid = kernel.fork(child)
    theirs.close()
    with ours, ours.makefile("rb") as stream:
        found, _ = frames.receive(stream, 2**20)
    os.waitpid(pid, 0)
    return found["found"]


def refusal(action: Callable[[], Any]) -> str | None:
    """The name of what an action raises, None where it works."""
    try:
        action()
    except Exception as error:  # noqa: BLE001  whatever it is: its name is the answer
        return type(error).__name__
    return None


def test_a_reader_has_nothing(tmp_path: Path, secret: Path) -> None:
    """No file, no network, no process of others, no process of its own, no rights, no descriptor but its line."""
    with socket.socket() as listening, secret.open() as opened:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        address, other, parent = listening.getsockname(), opened.fileno(), os.getpid()

        def look() -> dict[str, Any]:
            return {
                "read": refusal(secret.read_text),
                "root": [str(one) for one in Path("/").iterdir()],
                "write": refusal(lambda: Path("/x").write_text("x")),
                "connect": socket.socket().connect_ex(address),
                "descriptor": refusal(lambda: os.fstat(other)),
                "kill": refusal(lambda: os.kill(parent, 0)),
                "fork": refusal(os.fork),
                "up": refusal(lambda: os.chroot("/")),
                "uid": os.getuid(),
                "memory": refusal(lambda: bytearray(2 * check.MEMORY)),
            }

        found = probe(tmp_path / "nowhere", look)
    assert found["read"] == "FileNotFoundError"
    assert found["root"] == []
    assert found["write"] in ("PermissionError", "OSError")
    assert found["connect"] != 0
    assert found["descriptor"] == "OSError"
    assert found["kill"] == "PermissionError" or os.geteuid() != 0
    assert found["fork"] == "BlockingIOError"
    assert found["up"] == "PermissionError"
    assert found["uid"] != 0
    assert found["memory"] == "MemoryError"


def test_the_api_parses_nothing(siege: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that holds the secrets sees only the child's answer: here its own parser is a trap."""

    def trap(*_: Any, **__: Any) -> Any:
        raise AssertionError("the API parsed a stranger's document")

    for module, name in ((cwl, "parse"), (yaml, "CBaseLoader"), (loading, "load")):
        monkeypatch.setattr(module, name, trap)
    wrapped = json.dumps({"executionUnit": {"value": TOOL, "mediaType": YAML}})
    for text, media in ((TOOL, YAML), (wrapped, "application/ogcapppkg+json")):
        answer = siege.post("/check", data=text, headers={"Content-Type": media})
        assert answer.status_code == 200, answer.text


GOOD: dict[str, Any] = {}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("deployment", "bundle", "digest"), "0" * 64),
        (("deployment", "bundle", "documents"), {"../../etc/x": "x"}),
        (("deployment", "bundle", "entry"), "/etc/passwd"),
        (("deployment", "processId"), {"a": 1}),
        (("deployment", "overrides"), "x"),
        (("deployment", "kind"), "python"),
        (("deployment", "mediaType"), "x" * 300),
        (("inspection", "process"), []),
        (("inspection", "process"), {"inputs": [{"id": 5, "type": "string"}], "outputs": []}),
        (("inspection", "steps"), [1]),
        (("inspection", "needs"), {}),
        (("inspection",), None),
        ((), []),
    ],
)
def test_answers_of_a_child_that_was_taken_over(runner: RunnerPeer, path: tuple[str, ...], value: Any) -> None:
    deployment, inspection = read(runner, TOOL)
    whole: Any = json.loads(json.dumps({"deployment": deployment.to_json(), "inspection": inspection.to_json()}))
    assert answered(whole, b"")[1] == inspection
    if not path:
        whole = value
    else:
        inner = whole
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = value
    with pytest.raises(BrokerError):
        answered(whole, b"")


def test_answers_that_are_deep(runner: RunnerPeer) -> None:
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    with pytest.raises(PackageError, match="deeply"):
        answered({"deployment": deep}, b"")


def test_no_secret_in_keeper_and_engine(runner: RunnerPeer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their environment is empty, and they hold no file but their job's: a secret of the broker is neither there nor
    in their memory, for they come from a zygote that never had one."""
    monkeypatch.setenv("BROKER_CANARY", SECRET)
    platform = runner.platform()
    spec = runner.spec(SLEEP, {"seconds": f"30.{os.getpid()}"})
    list(platform.submit(spec))
    attempt = attempt_of(spec)
    assert runner.process is not None
    try:
        zygote = runner.process.pid
        wait_for(lambda: len(descendants(zygote)) > 2, 20, lambda: "the job does not start")
        pids = descendants(zygote)
        looked_at = 0
        for pid in (runner.process.pid, *pids):
            try:
                environment = Path(f"/proc/{pid}/environ").read_bytes().decode("utf-8", "replace")
                targets = [str(number.readlink()) for number in Path(f"/proc/{pid}/fd").iterdir()]
            except (FileNotFoundError, ProcessLookupError):  # one of those that only prepare something
                continue
            looked_at += 1
            assert SECRET not in environment
            for target in targets:
                ours = (
                    "pipe:",
                    "socket:",
                    "anon_inode:",
                    "/dev/null",
                    "/dev/full",
                    "/memfd:",
                    str(runner.root.parent),
                    "/sys/fs/cgroup/",
                )
                # control groups are where a keeper puts its engine; what pytest catches the zygote's own words with
                assert target.startswith(ours) or target.endswith("(deleted)"), (pid, target)
        assert looked_at > 2  # zygote, keeper, engine at least
    finally:
        platform.release(attempt)


def descendants(pid: int) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        found += [int(child), *descendants(int(child))]
    return found


def test_node_is_never_started(tmp_path: Path) -> None:
    """A `node` that tells of being run is first on PATH, for the zygote and for all that it starts."""
    told = tmp_path / "told"
    for name in ("node", "nodejs", "docker"):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho {name} >> {told}\nexit 1\n")
        program.chmod(0o755)
    peer = RunnerPeer(tmp_path / "r")
    (tmp_path / "r").mkdir()
    original = subprocess.Popen

    def with_path(*args: Any, **more: Any) -> Any:
        return original(*args, **(more | {"env": {"PATH": f"{tmp_path}:{os.environ['PATH']}"}}))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", with_path)
        peer.start()
    try:
        every = (
            "requirements: {InlineJavascriptRequirement: {expressionLib: ['var two = 2;']},\n"
            "  InitialWorkDirRequirement: {listing: '${return [{entryname: \"a.txt\", entry: String(two)}];}'},\n"
            "  EnvVarRequirement: {envDef: {A: '${return String(two);}'}},\n"
            "  ResourceRequirement: {coresMin: '${return 1;}'},\n"
            "  ToolTimeLimit: {timelimit: '${return 60;}'}}\n"
            "stdout: $(String(two) + '.txt')\n"
        )
        outputs = "{o: {type: int, outputBinding: {glob: '*.txt', outputEval: '${return self.length + two;}'}}}"
        _, seen = peer.run(shell("true", outputs, every))
        assert seen.failure is None, seen
    finally:
        peer.kill(15)
    assert not told.exists()


def test_the_zygotes_own_line_is_closed_to_others(runner: RunnerPeer) -> None:
    assert runner.socket.stat().st_mode & 0o077 == 0
    assert ECHO in read(runner, ECHO)[0].bundle.documents.values()


def test_strangers_packages_are_not_read_where_nobody_can_be_shut_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel refuses namespaces, packages are read only while one person uses the broker."""
    monkeypatch.setattr(kernel, "shut_in", lambda nowhere, keep: False)
    monkeypatch.setattr(kernel, "limit", lambda **limits: None)
    monkeypatch.setattr(signal, "alarm", lambda seconds: 0)
    for strangers in (True, False):
        ours, theirs = socket.socketpair()
        with ours, ours.makefile("rb") as stream:
            frames.send(ours, {"mediaType": "application/cwl", "process": None, "strangers": strangers}, TOOL.encode())
            check.serve(theirs, tmp_path)
            told, _ = frames.receive(stream, 1 << 20)
        assert ("error" in told) is strangers, told
        if strangers:
            assert "several people" in json.dumps(told)
