"""What a tool can do to the machine and to others on it: as good as nothing, whatever it tries."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest
from cwltool.errors import UnsupportedRequirement

from broker.errors import PlatformRefused
from broker.jobs.model import Fault, Limits, Needs, Reason, StageItem
from broker.jobs.observation import State
from broker.jobs.placement import unfit
from broker.runner import cgroups, isolation, seccomp
from broker.runner.client import Zygote
from broker.runner.tools import image_of
from tests.peers.broker import wait_for
from tests.peers.image import IMAGE, make_image
from tests.peers.runner import RunnerPeer, attempt_of, ended, look, runner_peer, shell

FILE = "{out: {type: File, outputBinding: {glob: out.txt}}}"
CALLS = """\
import ctypes, os, platform
libc = ctypes.CDLL(None, use_errno=True)
arm = platform.machine() == "aarch64"
for name, x86, a64 in [
    ("keyctl", 250, 219), ("add_key", 248, 217), ("bpf", 321, 280), ("io_uring_setup", 425, 425),
    ("userfaultfd", 323, 282), ("perf_event_open", 298, 241), ("mount", 165, 40), ("setns", 308, 268),
]:
    result = libc.syscall(a64 if arm else x86, 0, 0, 0, 0, 0)
    print(name, result, ctypes.get_errno())
print("unshare", libc.unshare(0x10000000), ctypes.get_errno())
"""


def said(runner: RunnerPeer, script: str, more: str = "", **settings: object) -> str:
    platform = runner.platform(**settings)
    attempt, seen = runner.run(shell(script, FILE, more), on=platform)
    assert seen.state == State.SUCCEEDED, seen
    with platform.open(attempt, "out/out.txt") as stream:
        return stream.read().decode()


def test_nothing_of_the_kernel_is_written(runner: RunnerPeer) -> None:
    """Root without capabilities may still write to /proc/sys: once that was a way to the machine (core_pattern)."""
    before = Path("/proc/sys/kernel/core_pattern").read_text()
    script = (
        "find /proc -path '/proc/[0-9]*' -prune -o -path /proc/self -prune -o -path /proc/thread-self -prune -o -type f"
        " -perm /222 -print 2>/dev/null > l; while read f; do (exec 9>>$f) 2>/dev/null && echo $f; done < l > out.txt;"
        " wc -l < l >> out.txt; (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null; true"
    )
    *written, looked_at = said(runner, script).split()
    assert written == []
    assert int(looked_at) > 100
    assert Path("/proc/sys/kernel/core_pattern").read_text() == before


@pytest.mark.skipif(seccomp.program() is None, reason="no filter for this architecture")
def test_calls_that_reach_for_the_kernel(runner: RunnerPeer) -> None:
    text = said(
        runner, f"cat > c.py <<'EOF'\n{CALLS}EOF\npython3 c.py > out.txt; grep NoNewPrivs /proc/self/status >> out.txt"
    )
    *calls, last = text.splitlines()
    assert [line.split()[1:] for line in calls] == [["-1", "1"]] * 9, calls
    assert last.split() == ["NoNewPrivs:", "1"]


def test_no_rights_and_no_descriptors(runner: RunnerPeer) -> None:
    text = said(runner, "grep ^Cap /proc/self/status > out.txt; ls -l /proc/$$/fd >> out.txt; id -u >> out.txt")
    assert {line.split()[1] for line in text.splitlines() if line.startswith("Cap")} == {"0" * 16}
    opened = {line.split(" -> ")[1] for line in text.splitlines() if " -> " in line}
    # its own log, which it writes to anyway
    assert {one for one in opened if not one.endswith("/logs/package.cwl.log")} <= {"/dev/null", "/cwl/out/out.txt"}
    assert text.split()[-1] != "0"


def test_no_service_of_the_machine(runner: RunnerPeer) -> None:
    """Neither over loopback nor by a socket in the abstract namespace."""
    with socket.socket() as listening, socket.socket(socket.AF_UNIX) as abstract:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        abstract.bind(f"\0eb-test-{os.getpid()}")
        abstract.listen()
        code = (
            "import socket\n"
            f"for kind, to in ((socket.AF_INET, ('127.0.0.1', {listening.getsockname()[1]})),"
            f" (socket.AF_UNIX, '\\0eb-test-{os.getpid()}')):\n"
            "    print(socket.socket(kind).connect_ex(to))\n"
        )
        text = said(runner, f"cat > c.py <<'EOF'\n{code}EOF\npython3 c.py > out.txt")
    assert "0" not in text.split()


def test_network_only_by_policy(runner: RunnerPeer) -> None:
    """Where several people use the broker nothing is said by default, and that means no."""
    asks = "requirements: {NetworkAccess: {networkAccess: true}}\n"
    hint = "hints: {NetworkAccess: {networkAccess: true}}\n"
    script, ours = "readlink /proc/self/ns/net > out.txt", str(Path("/proc/self/ns/net").readlink())
    assert said(runner, script, asks, shared=lambda: True).strip() != ours
    assert said(runner, script, hint, network=True).strip() != ours
    assert said(runner, script, asks, network=True, shared=lambda: True).strip() == ours
    offer = runner.platform(shared=lambda: True).check().capabilities
    assert not offer.network
    assert unfit(Needs(network=True), offer)


def test_no_plain_process_where_several_people_are(runner: RunnerPeer) -> None:
    """Whatever the settings say: refused at check, at placement and at dispatch, from one moment to the next."""
    several = False
    platform = runner.platform(isolation="process", shared=lambda: several)
    assert platform.check().capabilities.isolation == "process"
    several = True
    health = platform.check()
    assert health.capabilities.isolation == "none"
    assert not health.available
    assert "for one person only" in health.message
    assert unfit(Needs(), health.capabilities)
    with pytest.raises(PlatformRefused, match="isolate") as caught:
        list(platform.submit(runner.spec(shell("true"))))
    assert "for one person only" in str(caught.value)


def test_inputs_are_not_changed_in_place_where_several_people_are(runner: RunnerPeer) -> None:
    more = "requirements: {InplaceUpdateRequirement: {inplaceUpdate: true}}\n"
    platform = runner.platform(shared=lambda: True)
    spec = runner.spec(shell("true", more=more))
    assert "InplaceUpdateRequirement" in " ".join(unfit(spec.needs, platform.check().capabilities))
    with pytest.raises(PlatformRefused, match="InplaceUpdateRequirement"):
        list(platform.submit(spec))


def grouped(runner: RunnerPeer) -> bool:
    return Zygote(runner.socket).ping()["groups"] is not None


def test_a_memory_hog(runner: RunnerPeer) -> None:
    """It ends with a limit; the runner and others go on."""
    for children in (0, 3) if grouped(runner) else (0,):
        grow = "b = bytearray()\nwhile True:\n    b += b'x' * 2**24\n"
        hog = f"import os\nfor _ in range({children}):\n    os.fork()\n{grow}"
        platform = runner.platform(ram_mib=300)
        _, seen = runner.run(shell(f"cat > h.py <<'EOF'\n{hog}EOF\nexec python3 h.py"), on=platform)
        assert seen.state == State.FAILED
        assert seen.failure is not None
        assert (seen.failure.fault, seen.failure.reason) == (Fault.LIMIT, Reason.OUT_OF_MEMORY) or not grouped(runner)
    assert runner.run(shell("true"))[1].state == State.SUCCEEDED


def test_a_fork_bomb(runner: RunnerPeer) -> None:
    if not grouped(runner) and os.geteuid() == 0:
        pytest.skip("root without control groups: processes are not counted")
    script = "for i in $(seq 1000); do sleep 1000 & done; echo all; wait"
    platform = runner.platform(processes=64)
    spec = runner.spec(shell(script))
    list(platform.submit(spec))
    seen = ended(platform, attempt_of(spec))
    assert seen.state == State.FAILED
    assert seen.failure is not None
    assert (seen.failure.fault, seen.failure.reason) == (Fault.LIMIT, Reason.TOO_MANY_PROCESSES) or not grouped(runner)
    assert runner.run(shell("true"))[1].state == State.SUCCEEDED


def test_a_fork_bomb_where_the_kernel_counts_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Root without control groups. Seen red: without `Crowd`, all 3000 of them."""
    if os.geteuid() != 0:
        pytest.skip("the kernel counts the processes of ordinary users")
    hidden = ("/usr/bin/unshare", "--mount", "/bin/sh", "-c", 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"', "sh")
    with runner_peer(tmp_path_factory.mktemp("rp"), hidden) as peer:
        assert not grouped(peer)
        script = "for i in $(seq 3000); do sleep 1000 & done; echo all; wait"
        platform = peer.platform(processes=64)
        spec = peer.spec(shell(script), limits=Limits(time=30.0))
        list(platform.submit(spec))
        seen = ended(platform, attempt_of(spec))
        assert seen.failure is not None
        assert (seen.failure.fault, seen.failure.reason) == (Fault.LIMIT, Reason.TOO_MANY_PROCESSES)
        assert "more than 64 processes" in seen.failure.message
        assert peer.run(shell("true"), on=platform)[1].state == State.SUCCEEDED


def test_groups_are_removed(runner: RunnerPeer) -> None:
    groups = cgroups.find()
    if groups is None:
        pytest.skip("no control groups can be made here")
    base = groups.bases["pids"]
    runner.run(shell("true"))

    def left() -> list[str]:
        return [one.name for one in base.iterdir() if one.is_dir() and not (one / "cgroup.procs").read_text()]

    wait_for(lambda: not left(), 10, lambda: str(left()))


def test_the_api_goes_before_jobs() -> None:
    groups = cgroups.find()
    if groups is None:
        pytest.skip("no control groups can be made here")
    name, usual, ours = [("cpu.shares", 1024, 256), ("cpu.weight", 100, 25)][groups.version - 1]
    weight = groups.bases.get("cpu", groups.bases["pids"]) / name
    if weight.exists():
        weight.write_text(str(usual))  # as the kernel has it; the group stays from one broker to the next
        cgroups.find()
        assert int(weight.read_text()) == ours


def test_version_2_of_control_groups(tmp_path: Path) -> None:
    """A double, where the machine's controllers belong to version 1: what is written where, as the kernel documents."""
    mount = tmp_path / "cgroup"
    service = mount / "system.slice/broker.service"
    own = service / "main"
    own.mkdir(parents=True)
    (service / "cgroup.controllers").write_text("cpu io memory pids\n")
    (service / "earthcode-broker").mkdir()
    (service / "earthcode-broker/cgroup.controllers").write_text("cpu memory pids\n")
    mountinfo, lines = tmp_path / "mountinfo", tmp_path / "own"
    mountinfo.write_text(f"31 23 0:28 / {mount} rw,relatime - cgroup2 cgroup2 rw\n")
    lines.write_text("0::/system.slice/broker.service/main\n")
    groups = cgroups.find(mountinfo, lines)
    assert groups is not None
    assert (groups.version, set(groups.bases.values())) == (2, {service / "earthcode-broker"})
    assert (service / "cgroup.subtree_control").read_text() == "+memory +pids +cpu"
    assert (service / "earthcode-broker/cpu.weight").read_text() == "25"
    group = groups.make("job")
    group.bound(cgroups.Bounds(2**28, 100, 1.5))
    place = service / "earthcode-broker/job"
    assert {name: (place / name).read_text() for name in ("memory.max", "memory.swap.max", "pids.max", "cpu.max")} == {
        "memory.max": str(2**28), "memory.swap.max": "0", "pids.max": "100", "cpu.max": "150000 100000"
    }  # fmt: skip
    assert group.met() is None
    (place / "pids.events").write_text("max 3\n")
    assert group.met() == cgroups.PROCESSES
    (place / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n")
    assert group.met() == cgroups.MEMORY


@pytest.fixture(scope="module")
def engine() -> isolation.Isolation:
    found = isolation.find("auto", "podman") if shutil.which("podman") else isolation.Isolation()
    if not found.engine:
        pytest.skip(f"no working podman {found.notes}: apt-get install podman runc")
    make_image(found)
    return found


def test_containers_have_no_rights_and_limits(runner: RunnerPeer, engine: isolation.Isolation) -> None:
    platform = runner.platform(engine="podman", ram_mib=512, processes=100)
    more = f"requirements: {{DockerRequirement: {{dockerPull: '{IMAGE}'}}}}\n"
    script = (
        "while read a b; do case $a in Cap*|NoNewPrivs:|Seccomp:) echo $a $b;; esac; done </proc/self/status >out.txt;"
        " (echo x > /etc/x) 2>/dev/null && echo ROOTFS"
        " >> out.txt; (echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo CORE >> out.txt; true"
    )
    attempt, seen = runner.run(shell(script, FILE, more), on=platform)
    assert seen.state == State.SUCCEEDED, seen
    with platform.open(attempt, "out/out.txt") as stream:
        found = dict(line.split() for line in stream.read().decode().splitlines())
    assert {found[name] for name in found if name.startswith("Cap")} == {"0" * 16}
    assert found["NoNewPrivs:"] == "1"
    assert found["Seccomp:"] == "2"
    assert engine.limited or engine.notes
    if engine.limited:
        _, seen = runner.run(
            shell(
                "i=0; while [ $i -lt 999 ]; do i=$((i+1)); (while :; do read x </dev/zero; done) & done; wait",
                more=more,
            ),
            on=platform,
        )
        assert seen.state == State.FAILED


def test_places_beside_the_output_directory(runner: RunnerPeer, engine: isolation.Isolation, tmp_path: Path) -> None:
    """cwltool takes `/outx/etc/passwd` for a place below `/out`: of the host it once put a link to /etc/passwd."""
    (tmp_path / "kept").write_text("of the host")
    platform = runner.platform(engine=engine.engine)
    more = (
        f"requirements: {{DockerRequirement: {{dockerPull: '{IMAGE}'}}, InitialWorkDirRequirement:"
        f" {{listing: [{{entryname: '$(runtime.outdir)x{tmp_path}/kept', entry: $(inputs.note)}}]}}}}\n"
    )
    package = shell("true", more=more).replace("inputs: []", "inputs: {note: File}")
    order = {"note": {"class": "File", "location": "inputs/note.txt"}}
    _, seen = runner.run(package, order, on=platform, stage=(StageItem("note.txt", text="mine"),))
    assert not (tmp_path / "kept").is_symlink()
    assert (tmp_path / "kept").read_text() == "of the host"
    assert seen.state == State.FAILED


@pytest.mark.parametrize("image", ["--volume=/:/host", "-v/:/h", "a b", "x --privileged", "$(id)", "a\nb", "--"])
@pytest.mark.parametrize("field", ["dockerPull", "dockerImageId"])
def test_image_names_are_no_options(image: str, field: str) -> None:
    with pytest.raises(UnsupportedRequirement):
        image_of({field: image})


def test_look_at_nothing_left(runner: RunnerPeer) -> None:
    """A daemon of a tool ends with the tool."""
    mark = f"1234.{os.getpid()}"
    platform = runner.platform()
    attempt, seen = runner.run(shell(f"setsid sleep {mark} >/dev/null 2>&1 & true"), on=platform)
    assert seen.state == State.SUCCEEDED, look(platform, attempt)
    alive = [one for one in Path("/proc").glob("[0-9]*/cmdline") if mark.encode() in _read(one)]
    assert alive == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
