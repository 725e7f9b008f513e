"""Images: from registries that are allowed, the one that was meant at deployment, with the owner's credential only.

A real registry that asks for accounts; a tag that moves; one store of a container engine for everybody.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.jobs.observation import State
from broker.jobs.secrets import Released
from broker.packages.images import Reference
from broker.runner import isolation
from broker.runner.isolation import Isolation
from broker.runner.jobdir import JobDir
from broker.runner.pull import Puller
from tests.peers.broker import BrokerPeer, broker_peer
from tests.peers.image import make_root
from tests.peers.registry import PASSWORD, USER, RegistryPeer, registry_peer
from tests.peers.runner import RunnerPeer, attempt_of, ended, runner_peer
from tests.peers.web import WebPeer
from tests.unit.packages.test_images import DIGEST

pytestmark = pytest.mark.xdist_group("images")

TOOL = """cwlVersion: v1.2
class: CommandLineTool
id: {id}
baseCommand: [sh, -c, 'cat /etc/mark > mark.txt']
requirements: {{DockerRequirement: {{dockerPull: '{image}'}}}}
inputs: []
outputs: {{mark: {{type: File, outputBinding: {{glob: mark.txt}}}}}}
"""


@pytest.fixture(scope="module")
def engine() -> Isolation:
    found = isolation.find("auto", "podman") if shutil.which("podman") else Isolation()
    if not found.engine:
        pytest.skip(f"no working podman {found.notes}: apt-get install podman runc")
    return found


class Marked:
    """Images that differ in a file, made when they are asked for: to forget what was pulled takes them away too."""

    def __init__(self, engine: Isolation) -> None:
        self.argv = engine.engine_argv

    def __getitem__(self, mark: str) -> str:
        name = f"localhost/earthcode-broker-test-{mark}:1"
        if subprocess.run([*self.argv, "image", "exists", name], check=False).returncode:
            with tempfile.TemporaryDirectory() as directory:
                root = Path(directory) / "root"
                make_root(root)
                (root / "etc" / "mark").write_text(mark)
                archive = shutil.make_archive(str(Path(directory) / "image"), "tar", root)
                subprocess.run([*self.argv, "import", archive, name], check=True, capture_output=True)
        return name


@pytest.fixture(scope="module")
def marked(engine: Isolation) -> Marked:
    return Marked(engine)


@pytest.fixture(scope="module", params=[False, True], ids=["basic", "token"])
def registry(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engine: Isolation
) -> Iterator[RegistryPeer]:
    with registry_peer(tmp_path_factory.mktemp("registry"), engine, token=request.param) as peer:
        yield peer


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, registry: RegistryPeer) -> Iterator[BrokerPeer]:
    allowed = json.dumps([registry.host, "docker.io/library"])
    with broker_peer(
        tmp_path_factory.mktemp("images") / "s",
        EGRESS__ALLOW_NETWORKS='["127.0.0.0/8"]',
        IMAGES__REGISTRIES=allowed,
        IMAGES__INSECURE=json.dumps([registry.host]),
    ) as peer:
        yield peer


def keep(broker: BrokerPeer, registry: RegistryPeer) -> None:
    body = {"kind": "registry", "host": registry.host, "username": USER, "password": PASSWORD}
    answer = broker.session.put(f"{broker.url}/credentials/images", json=body, timeout=30)
    assert answer.status_code in (200, 201), answer.text


def deploy(broker: BrokerPeer, image: str, id: str) -> dict[str, Any]:
    headers = {"Content-Type": "application/cwl"}
    answer = broker.post("/processes", data=TOOL.format(id=id, image=image).encode(), headers=headers)
    return dict(answer.json()) | {"code": answer.status_code}


def ran(broker: BrokerPeer, process: str) -> tuple[str, dict[str, Any]]:
    """What the tool found in its image, and the record of the step."""
    job = broker.execute(process, {})
    status = broker.ended(job, 120)
    assert status["status"] == "successful", status
    [step] = broker.get(f"/jobs/{job}/steps").json()["steps"]
    return broker.get(f"/jobs/{job}/results/mark").text, step


def test_a_moved_tag_changes_nothing(broker: BrokerPeer, registry: RegistryPeer, marked: Marked) -> None:
    keep(broker, registry)
    image = registry.name("tools/mark:v1")
    first = registry.push(marked["one"], "tools/mark:v1")
    made = deploy(broker, image, "pinned")
    assert made["code"] == 201
    assert "warnings" not in made
    assert broker.get("/processes/pinned").json()["images"] == {image: first}
    second = registry.push(marked["two"], "tools/mark:v1")
    assert first != second
    registry.forget("tools/mark")
    mark, step = ran(broker, "pinned")
    assert mark == "one"
    assert (step["image"], step["imageDigest"]) == (image, first)
    assert deploy(broker, image, "later")["code"] == 201
    mark, step = ran(broker, "later")
    assert (mark, step["imageDigest"]) == ("two", second)
    assert ran(broker, "pinned")[0] == "one"  # both are here now, and the tag means the other one
    registry.forget("tools/mark")


def test_an_image_that_cannot_be_pinned_is_a_warning(
    broker: BrokerPeer, registry: RegistryPeer, marked: Marked
) -> None:
    keep(broker, registry)
    gone = deploy(broker, registry.name("tools/gone:v1"), "gone")
    assert gone["code"] == 201
    assert f"could not be pinned ({registry.host} has no such image)" in gone["warnings"][0]
    by_digest = registry.name(f"tools/gone@{DIGEST}")
    assert "warnings" not in deploy(broker, by_digest, "digest")
    assert broker.get("/processes/digest").json()["images"] == {by_digest: DIGEST}


@pytest.mark.parametrize("image", ["ghcr.io/some/where:1", "evil/tool", "127.0.0.1:1/x", "docker.io/evil/tool"])
def test_other_registries_are_refused(broker: BrokerPeer, image: str) -> None:
    refused = deploy(broker, image, "elsewhere")
    assert refused["code"] == 400
    assert "takes none from there" in refused["detail"]
    headers = {"Content-Type": "application/cwl"}
    checked = broker.post("/check", data=TOOL.format(id="x", image=image).encode(), headers=headers)
    assert checked.status_code == 400


@pytest.mark.parametrize(
    "image", ["--volume=/:/host", "-v", "a b", "oci-archive:/etc/passwd", "dir:/etc", "A/b", "x@y"]
)
def test_what_is_no_reference_is_refused(broker: BrokerPeer, image: str) -> None:
    refused = deploy(broker, image, "odd")
    assert refused["code"] == 400, refused


@pytest.mark.parametrize("part", ["dockerFile: 'FROM debian'", "dockerLoad: 'https://h.example/x.tar'",
                                  "dockerImport: 'https://h.example/x.tar'"])  # fmt: skip
def test_images_are_neither_built_nor_loaded(broker: BrokerPeer, part: str) -> None:
    package = TOOL.format(id="built", image="debian").replace("dockerPull: 'debian'", part + ", dockerImageId: debian")
    answer = broker.post("/processes", data=package.encode(), headers={"Content-Type": "application/cwl"})
    assert answer.status_code in (400, 422)
    assert part.partition(":")[0] in answer.text


# ---- below the API


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunnerPeer]:
    with runner_peer(tmp_path_factory.mktemp("runner")) as peer:
        yield peer


def attempt(runner: RunnerPeer, registry: RegistryPeer, image: str, **more: Any) -> tuple[State, str, JobDir]:
    """Run a tool of an image: how it ended, why, and its directory."""
    platform = runner.platform(engine="podman", insecure_registries=(registry.host,))
    spec = runner.spec(TOOL.format(id="x", image=image), **more)
    list(platform.submit(spec))
    seen = ended(platform, attempt_of(spec), 60)
    return seen.state, seen.failure.message if seen.failure else "", JobDir(runner.root / spec.name)


def account(registry: RegistryPeer, password: str = PASSWORD) -> Released:
    return Released(registries={registry.host: {"username": USER, "password": password}})


def test_a_private_image_is_for_those_who_may_pull_it(
    runner: RunnerPeer, registry: RegistryPeer, marked: Marked
) -> None:
    """The container engine's store is everybody's: that somebody has pulled an image gives it to nobody else."""
    digest = registry.push(marked["one"], "private/mark:v1")
    image = registry.name("private/mark:v1")
    registry.forget("private/mark")
    assert attempt(runner, registry, image)[0] == State.FAILED
    state, why, job = attempt(runner, registry, image, secrets=account(registry))
    assert state == State.SUCCEEDED, why
    assert not job.pull.exists()
    assert not job.auth.exists()
    log = (job.logs / "stage.log").read_text()
    assert PASSWORD not in log
    listed = [*registry.engine.engine_argv, "image", "exists", image]
    assert subprocess.run(listed, check=False).returncode == 0  # it is here, and yet:
    for name in (image, registry.name("private/mark"), registry.name(f"private/mark@{digest}")):
        state, why, _ = attempt(runner, registry, name)
        assert state == State.FAILED, name
        assert registry.host in why
    wrong = attempt(runner, registry, image, secrets=account(registry, "canary-password"))
    assert wrong[0] == State.FAILED
    assert "canary-password" not in wrong[1] + (wrong[2].logs / "stage.log").read_text()
    state, why, _ = attempt(runner, registry, image, secrets=account(registry))
    assert state == State.SUCCEEDED, why
    registry.forget("private/mark")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_no_image_sends_the_engine_to_a_private_address(runner: RunnerPeer, engine: Isolation, host: str) -> None:
    """Where several people use the broker: an image's name is an address like any other that somebody gives."""
    with WebPeer(host="::1" if ":" in host else "127.0.0.1") as web:
        platform = runner.platform(engine="podman", shared=lambda: True, egress={"schemes": ["https"]})
        spec = runner.spec(TOOL.format(id="x", image=f"{host}:{web.port}/some/image:1"))
        list(platform.submit(spec))
        failure = ended(platform, attempt_of(spec), 60).failure
        assert failure is not None
        assert f"the registry {host}:{web.port} is refused: it is not a public address" in failure.message
        assert web.requests == []


def test_a_registry_that_repeats_the_password_is_not_heard(runner: RunnerPeer, engine: Isolation) -> None:
    word = "canary-password"
    basic = base64.b64encode(f"{USER}:{word}".encode()).decode()
    with WebPeer() as web:
        host = f"127.0.0.1:{web.port}"
        said = {"errors": [{"code": "DENIED", "message": f"no {word} and no {basic} here", "detail": "told"}]}
        for path in ("/v2/", "/v2/some/image/manifests/1"):
            web.serve(path, said, status=403 if path != "/v2/" else 200)
        platform = runner.platform(engine="podman", insecure_registries=(host,))
        released = Released(registries={host: {"username": USER, "password": word}})
        spec = runner.spec(TOOL.format(id="x", image=f"{host}/some/image:1"), secrets=released)
        list(platform.submit(spec))
        failure = ended(platform, attempt_of(spec), 60).failure
    assert failure is not None
    log = (JobDir(runner.root / spec.name).logs / "stage.log").read_text()
    assert "no … and no … here" in log
    assert word not in log + failure.message
    assert basic not in log + failure.message


def test_an_id_of_an_image_is_no_name(runner: RunnerPeer, registry: RegistryPeer, marked: Marked) -> None:
    """A container engine takes (the beginning of) an id for an image; a package does not get it by that."""
    argv = [*registry.engine.engine_argv, "image", "inspect", "--format", "{{.Id}}", marked["one"]]
    whole = subprocess.check_output(argv, text=True).strip()
    for name in (whole, whole[:12]):
        assert attempt(runner, registry, name)[0] == State.FAILED


def test_a_short_name_may_be_what_was_built_here(tmp_path: Path, engine: Isolation, marked: Marked) -> None:
    """podman calls such an image localhost/name: it is looked for after the registry, and never for a digest."""
    puller = Puller(JobDir(tmp_path), engine, tmp_path, {}, {"pins": {}, "insecure": []})
    short = marked["one"].removeprefix("localhost/")
    built = puller._built_here(Reference.parse(short))
    assert built is not None
    assert built == puller.get(marked["one"])
    for other in (f"docker.io/library/{short}", short.replace(":1", f"@{DIGEST}"), "ghcr.io/" + short):
        assert puller._built_here(Reference.parse(other)) is None


def test_the_pinned_digest_runs_whatever_the_tag_is_here(
    runner: RunnerPeer, registry: RegistryPeer, marked: Marked
) -> None:
    first = registry.push(marked["one"], "local/mark:v1")
    registry.push(marked["two"], "local/mark:v1")
    image = registry.name("local/mark:v1")
    subprocess.run([*registry.engine.engine_argv, "tag", marked["two"], image], check=True)
    state, why, job = attempt(runner, registry, image, secrets=account(registry), images={image: first})
    assert state == State.SUCCEEDED, why
    assert (job.outputs / "mark/mark.txt").read_text() == "one"
    registry.forget("local/mark")
