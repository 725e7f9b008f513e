"""The catalog in a git repository: one branch and one commit whatever breaks; over https with a token; as a zip."""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from broker.errors import TargetRefused, TargetUnavailable
from broker.results.catalog import GitTarget, NotValid, bundle
from broker.results.catalogplan import Plan, plan
from broker.results.gitrepository import GitRepository
from broker.results.tree import Files, Tree
from tests.peers.git import GitPeer
from tests.peers.osc import bare, catalog, run
from tests.unit.results.samples import a_request, a_run, published

BRANCH = "broker/7c9e6679"
TOKEN = "canary-0123456789abcdef"


def make(tree: Tree) -> Plan:
    return plan(tree, a_request(), published())


@pytest.fixture
def remote(tmp_path: Path) -> Path:
    bare(tmp_path / "osc.git")
    return tmp_path / "osc.git"


def heads(remote: Path) -> dict[str, str]:
    lines = run(remote, "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads").splitlines()
    return dict(line.split() for line in lines)


def merge(remote: Path, branch: str = BRANCH) -> None:
    run(remote, "update-ref", "refs/heads/main", heads(remote)[branch])
    run(remote, "update-ref", "-d", f"refs/heads/{branch}")


def commit(remote: Path, files: dict[str, bytes], branch: str = "main") -> None:
    """Somebody else's commit."""
    with GitRepository(str(remote)) as git:
        parent = git.fetch(branch)
        new = git.commit(parent, files, "else", ("B", "b@example.org"), "2026-11-22T09:00:00+00:00")
        git.push(new, branch, parent)


def test_links_other_repositories_and_names_that_are_no_text_are_no_files(remote: Path) -> None:
    blob = run(remote, "rev-parse", "main:catalog.json").strip()
    listed = f"120000 blob {blob}\tworkflows\n160000 commit {heads(remote)['main']}\tthemes\n100644 blob {blob}\tx\n"
    tree = subprocess.run(["git", "mktree"], cwd=remote, input=listed, capture_output=True, text=True, check=True)
    made = run(remote, "commit-tree", tree.stdout.strip(), "-m", "x").strip()
    run(remote, "update-ref", "refs/heads/main", made)
    assert GitTarget(str(remote)).read(lambda seen: set(seen.paths())) == {"x"}


def test_a_file_too_large_for_a_record_is_not_read(remote: Path) -> None:
    commit(remote, {"workflows/catalog.json": b" " * (16 * 2**20 + 1)})
    with pytest.raises(TargetRefused, match=r"workflows/catalog\.json has 16777217 bytes"):
        GitTarget(str(remote)).plan(make)


def test_one_branch_with_one_commit_of_what_is_planned(remote: Path) -> None:
    target = GitTarget(str(remote), author=("Ada", "ada@example.org"))
    receipt = target.step(make, None)
    assert receipt["state"] == "proposed"
    assert heads(remote)[BRANCH] == receipt["commit"]
    assert run(remote, "rev-list", "--count", f"main..{BRANCH}").strip() == "1"
    planned = target.plan(make)
    assert run(remote, "diff", "--name-only", "main", BRANCH).split() == sorted(planned.files)
    for path, content in planned.files.items():
        assert run(remote, "show", f"{BRANCH}:{path}").encode() == content
    said = run(remote, "log", "-1", "--format=%an %ae %aI%n%B", BRANCH)
    assert said.startswith("Ada ada@example.org 2026-11-22T10:00:00")
    assert "Publication: 7c9e6679" in said
    assert run(remote, "diff", "main", BRANCH).count("\n-") - run(remote, "diff", "main", BRANCH).count("\n--- ") <= 4


def test_again_it_changes_nothing_and_merged_it_is_done(remote: Path) -> None:
    target = GitTarget(str(remote))
    receipt = target.step(make, None)
    before = heads(remote)
    assert target.step(make, receipt) == target.step(make, None) == receipt
    assert heads(remote) == before
    assert target.observe(make, receipt)["state"] == "proposed"
    commit(remote, {"README.md": b"else\n"})
    assert target.step(make, None) == receipt  # the base has moved, the proposal stands
    assert heads(remote)[BRANCH] == before[BRANCH]
    merge(remote)
    assert target.observe(make, receipt)["state"] == "merged"
    assert target.step(make, None)["state"] == "merged"
    assert list(heads(remote)) == ["main"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("call", range(8))
def test_killed_at_any_call_and_repeated_it_is_one_commit(
    remote: Path, call: int, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before or after each change that git makes, here and there."""
    real, calls = GitRepository._run, []

    class Killed(BaseException):
        pass

    def breaking(self: GitRepository, *words: str, **more: Any) -> bytes:
        if words[0] in ("cat-file", "rev-parse", "log", "ls-tree", "hash-object"):
            return real(self, *words, **more)
        calls.append(words[0])
        if len(calls) == call + 1 and not after:
            raise Killed
        found = real(self, *words, **more)
        if len(calls) == call + 1:
            raise Killed
        return found

    target = GitTarget(str(remote))
    monkeypatch.setattr(GitRepository, "_run", breaking)
    with pytest.raises(Killed):
        target.step(make, None)
    assert len(calls) < 8 or calls[-1] == "push"  # the last of the eight
    monkeypatch.setattr(GitRepository, "_run", real)
    receipt = target.step(make, None)
    assert heads(remote)[BRANCH] == receipt["commit"]
    assert len(heads(remote)) == 2
    assert run(remote, "rev-list", "--count", f"main..{BRANCH}").strip() == "1"


def test_another_plan_takes_the_place_of_the_first(remote: Path) -> None:
    target = GitTarget(str(remote))
    first = target.step(make, None)
    second = target.step(lambda tree: plan(tree, a_request(region="Sierra"), published()), first)
    assert second["commit"] != first["commit"]
    assert heads(remote)[BRANCH] == second["commit"]
    assert run(remote, "rev-list", "--count", f"main..{BRANCH}").strip() == "1"


def test_a_branch_that_changed_meanwhile_is_left_alone(remote: Path) -> None:
    GitTarget(str(remote)).step(make, None)
    with GitRepository(str(remote)) as git:
        old = git.fetch(BRANCH)
        commit(remote, {"README.md": b"steward\n"}, BRANCH)
        with pytest.raises(TargetUnavailable, match="stale info"):
            git.push(git.fetch("main"), BRANCH, old)
    assert "steward" in run(remote, "show", f"{BRANCH}:README.md")


def test_merged_with_changes_of_the_steward_and_closed(remote: Path) -> None:
    target = GitTarget(str(remote))
    receipt = target.step(make, None)
    path = "products/water-bodies-sierra/collection.json"
    content = run(remote, "show", f"{BRANCH}:{path}").replace("Water seen", "Water that was seen").encode()
    commit(remote, {path: content}, BRANCH)
    merge(remote)
    seen = target.observe(make, receipt)
    assert (seen["state"], seen["edited"]) == ("merged", [path])


def test_withdrawn(remote: Path) -> None:
    target = GitTarget(str(remote))
    receipt = target.step(make, None)
    assert target.withdraw(receipt)["state"] == target.withdraw(receipt)["state"] == "withdrawn"
    assert list(heads(remote)) == ["main"]
    assert target.observe(make, receipt)["state"] == "closed"


def test_nothing_leaves_when_the_records_are_not_valid(remote: Path) -> None:
    def bad(tree: Tree) -> Plan:
        return plan(tree, a_request(), published(package=None))

    with pytest.raises(NotValid) as caught:
        GitTarget(str(remote)).step(bad, None)
    assert [one.rule for one in caught.value.findings] == ["package"]
    assert list(heads(remote)) == ["main"]


def test_over_https_with_a_token(tmp_path: Path) -> None:
    with GitPeer(tmp_path) as peer:
        peer.commit(catalog())
        peer.git("config", "http.receivepack", "true")
        peer.authorization = f"Bearer {TOKEN}"
        target = GitTarget(peer.url, authorization=peer.authorization, ca_file=str(peer.ca_file))
        receipt = target.step(make, None)
        assert peer.git("rev-parse", BRANCH) == receipt["commit"]
        assert TOKEN not in json.dumps(receipt)
        with pytest.raises(TargetRefused, match="git fetch") as caught:
            GitTarget(peer.url, authorization=f"Bearer {TOKEN}x", ca_file=str(peer.ca_file)).step(make, None)
        assert TOKEN not in str(caught.value)


def test_the_token_is_on_no_command_line(remote: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    real = subprocess.run

    def watching(words: list[str], **more: Any) -> Any:
        told.append((words, more["env"]))
        return real(words, **more)

    monkeypatch.setattr(subprocess, "run", watching)
    GitTarget(str(remote), authorization=f"Bearer {TOKEN}").step(make, None)
    assert told
    assert not any(TOKEN in word for words, _ in told for word in words)
    assert all(TOKEN in " ".join(environment.values()) for _, environment in told)


def test_hooks_and_settings_of_the_machine_are_not_used(
    remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text('[url "https://elsewhere.example.org/"]\n  insteadOf = /\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert GitTarget(str(remote)).step(make, None)["state"] == "proposed"


@pytest.mark.parametrize("address", ["ext::touch {}/owned", "--upload-pack=touch {}/owned", "nowhere.git"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TargetRefused, TargetUnavailable)):
        GitTarget(address.format(tmp_path)).step(make, None)
    assert not list(tmp_path.iterdir())


def test_a_bundle_holds_the_files_and_the_diff(remote: Path, tmp_path: Path) -> None:
    planned = make(Files(catalog()))
    raw = bundle(planned)
    assert raw == bundle(make(Files(catalog())))
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        names = set(archive.namelist())
        assert names == {*planned.files, "changes.diff", "message.txt"}
        (tmp_path / "changes.diff").write_bytes(archive.read("changes.diff"))
    run(tmp_path, "clone", "-q", str(remote), "work")
    run(tmp_path / "work", "apply", "--index", "../changes.diff")
    run(tmp_path / "work", "commit", "-q", "-m", "by hand")
    for path, content in planned.files.items():
        assert (tmp_path / "work" / path).read_bytes() == content
    with pytest.raises(NotValid):
        bundle(plan(Files(catalog()), a_request(), published(a_run(), package=None)))
