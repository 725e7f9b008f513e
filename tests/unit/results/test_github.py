"""The catalog on GitHub: fork, one commit, one pull request, whatever breaks in between; and what becomes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.egress import Egress
from broker.errors import TargetRefused, TargetUnavailable
from broker.results.catalog import ENDS, NotValid
from broker.results.catalogplan import Plan, plan
from broker.results.github import GitHubTarget
from broker.results.tree import Tree
from tests.peers.github import GitHubPeer
from tests.unit.results.samples import a_request, published

CATALOG = "esa/open-science-catalog-metadata"
FORK = "ada/open-science-catalog-metadata"
BRANCH = "broker/7c9e6679"


def make(tree: Tree) -> Plan:
    return plan(tree, a_request(), published())


@pytest.fixture
def github(tmp_path: Path) -> Iterator[GitHubPeer]:
    with GitHubPeer(tmp_path, CATALOG) as peer:
        yield peer


@pytest.fixture
def target(github: GitHubPeer) -> Iterator[GitHubTarget]:
    with Egress() as egress:
        yield GitHubTarget(egress, CATALOG, github.token, api=github.api)


def proposed(target: GitHubTarget, receipt: dict[str, Any] | None = None, steps: int = 12) -> dict[str, Any]:
    """Steps until it is proposed; a step that breaks is made again from the receipt before it."""
    for _ in range(steps):
        try:
            receipt = target.step(make, receipt)
        except TargetUnavailable:
            continue
        if receipt["state"] in ENDS:
            return receipt
    raise AssertionError(receipt)


def made(github: GitHubPeer) -> tuple[int, int, int]:
    """Branches of the fork beside main, commits on ours above main, pull requests."""
    branches = github.git(FORK, "for-each-ref", "--format=%(refname)", "refs/heads").split()
    commits = github.git(FORK, "rev-list", "--count", f"main..{BRANCH}").strip()
    return len(branches) - 1, int(commits), len(github.pulls)


def test_one_commit_and_one_pull_request_from_a_fork(github: GitHubPeer, target: GitHubTarget) -> None:
    github.fork_after = 3
    receipt = proposed(target)
    assert (receipt["state"], receipt["number"], receipt["fork"]) == ("proposed", 1, FORK)
    assert made(github) == (1, 1, 1)
    shown = github.git(FORK, "show", f"{BRANCH}:workflows/water-bodies/package.cwl")
    assert shown == "cwlVersion: v1.2\nclass: Workflow\n"
    changed = github.git(FORK, "diff", "--name-only", "main", BRANCH).split()
    assert sorted(changed) == sorted(target.plan(make).files)
    assert github.sha(CATALOG, BRANCH) is None


def test_the_same_publication_again_changes_nothing(github: GitHubPeer, target: GitHubTarget) -> None:
    first = proposed(target)
    done, head = list(github.changes), github.sha(FORK, BRANCH)
    assert proposed(target, dict(first)) == first
    assert github.changes == done
    again = proposed(target)  # every receipt lost
    assert again == first
    assert github.changes == [*done, f"POST /repos/{CATALOG}/forks"]
    assert github.sha(FORK, BRANCH) == head


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("change", range(1, 6))
@pytest.mark.parametrize("forgetful", [False, True])
def test_broken_at_any_change_and_repeated_it_is_one_commit(
    github: GitHubPeer, target: GitHubTarget, change: int, when: str, forgetful: bool
) -> None:
    github.breaks = (change, when)
    receipt, broken = None, 0
    for _ in range(12):
        try:
            receipt = target.step(make, receipt)
        except TargetUnavailable:
            broken += 1
            receipt = None if forgetful else receipt
            continue
        if receipt["state"] in ENDS:
            break
    assert broken == 1  # the break was one of the five changes: fork, tree, commit, branch, pull request
    assert receipt is not None
    assert receipt["state"] == "proposed"
    assert made(github) == (1, 1, 1)


def test_a_fork_that_is_behind_is_brought_up_to_date(github: GitHubPeer, target: GitHubTarget) -> None:
    github.answer("POST", f"/repos/{CATALOG}/forks", {}, {})
    tree = github.git(CATALOG, "rev-parse", "main^{tree}").strip()
    new = github.git(CATALOG, "commit-tree", tree, "-p", "main", "-m", "more").strip()
    github.git(CATALOG, "update-ref", "refs/heads/main", new)
    proposed(target)
    assert github.sha(FORK, "main") == new
    assert github.git(FORK, "rev-parse", f"{BRANCH}^").strip() == new


def test_a_fork_with_commits_of_its_own_is_refused(github: GitHubPeer, target: GitHubTarget) -> None:
    github.answer("POST", f"/repos/{CATALOG}/forks", {}, {})
    for repository in (CATALOG, FORK):
        tree = github.git(repository, "rev-parse", "main^{tree}").strip()
        new = github.git(repository, "commit-tree", tree, "-p", "main", "-m", repository).strip()
        github.git(repository, "update-ref", "refs/heads/main", new)
    with pytest.raises(TargetRefused, match="cannot be brought up to date"):
        proposed(target)
    assert github.pulls == []


def test_another_plan_of_the_publication_takes_the_place_of_the_first(github: GitHubPeer, target: GitHubTarget) -> None:
    receipt = proposed(target)

    def other(tree: Tree) -> Plan:
        return plan(tree, a_request(description="Corrected."), published())

    for _ in range(3):
        receipt = target.step(other, receipt)
    assert receipt["state"] == "proposed"
    assert made(github) == (1, 1, 1)
    assert "Corrected." in github.git(FORK, "show", f"{BRANCH}:products/water-bodies-sierra/collection.json")


def test_checks_and_reviews_are_followed_to_the_merge(github: GitHubPeer, target: GitHubTarget) -> None:
    receipt = proposed(target)
    assert target.observe(make, receipt) == {**receipt, "checks": "none", "failed": [], "review": "none", "asked": []}
    github.checks = [{"name": "validate", "status": "in_progress", "conclusion": None}]
    assert target.observe(make, receipt)["checks"] == "running"
    github.checks = [
        {"name": "validate", "status": "completed", "conclusion": "failure", "html_url": "https://x.org/1"}
    ]
    github.reviews = [
        {"user": {"login": "steward"}, "state": "APPROVED", "body": ""},
        {"user": {"login": "steward"}, "state": "CHANGES_REQUESTED", "body": "Which variable?"},
        {"user": {"login": "steward"}, "state": "COMMENTED", "body": "Please."},
    ]
    seen = target.observe(make, receipt)
    assert (seen["checks"], seen["failed"]) == ("failed", [{"name": "validate", "href": "https://x.org/1"}])
    assert (seen["review"], seen["asked"]) == ("changes requested", [{"by": "steward", "text": "Which variable?"}])
    github.checks[0]["conclusion"] = "success"
    github.reviews.append({"user": {"login": "steward"}, "state": "APPROVED", "body": ""})
    seen = target.observe(make, seen)
    assert (seen["state"], seen["checks"], seen["review"]) == ("proposed", "passed", "approved")
    github.merge(1)
    seen = target.observe(make, seen)
    assert (seen["state"], seen["merge"]) == ("merged", github.sha(CATALOG, "main"))
    assert target.step(make, None)["state"] == "merged"  # the catalog has it: nothing is left to do
    with pytest.raises(TargetRefused, match="merged already"):
        target.withdraw(seen)


@pytest.mark.parametrize("document", [{}, {"object": {}}, None, "down for maintenance"])
def test_an_answer_that_is_none_of_the_api_is_later(github: GitHubPeer, target: GitHubTarget, document: Any) -> None:
    github.answer = lambda *_: (200, document)  # type: ignore[method-assign]
    with pytest.raises(TargetUnavailable, match="GitHub"):
        target.plan(make)


def test_what_others_write_is_bounded(github: GitHubPeer, target: GitHubTarget) -> None:
    receipt = proposed(target)
    failed = {
        "name": "x" * 999,
        "status": "completed",
        "conclusion": "failure",
        "html_url": "https://x.org/" + "1" * 99,
    }
    asking = {"state": "CHANGES_REQUESTED", "body": "y" * 60_000}
    github.checks = [failed] * 100
    github.reviews = [{**asking, "user": {"login": f"steward{number}"}} for number in range(90)]
    seen = target.observe(make, receipt)
    assert (len(seen["failed"]), len(seen["asked"]), len(seen["failed"][0]["name"])) == (20, 20, 200)
    assert len(json.dumps(seen)) < 100_000


def test_withdrawn_and_closed(github: GitHubPeer, target: GitHubTarget) -> None:
    receipt = proposed(target)
    withdrawn = target.withdraw(receipt)
    assert withdrawn["state"] == "withdrawn"
    assert (github.pulls[0]["state"], github.sha(FORK, BRANCH)) == ("closed", None)
    assert target.withdraw(receipt) == withdrawn
    assert target.observe(make, receipt)["state"] == "closed"


def test_nothing_leaves_when_the_records_are_not_valid(github: GitHubPeer, target: GitHubTarget) -> None:
    def bad(tree: Tree) -> Plan:
        return plan(tree, a_request(), published(package=None))

    with pytest.raises(NotValid, match="nothing that can be run"):
        target.step(bad, None)
    assert github.changes == []


def test_a_wrong_token_is_refused_and_not_repeated_in_the_words(github: GitHubPeer) -> None:
    with Egress() as egress:
        other = GitHubTarget(egress, CATALOG, "github_pat_wrong", api=github.api)
        with pytest.raises(TargetRefused, match="401: Bad credentials") as caught:
            other.step(make, None)
    assert "github_pat_wrong" not in str(caught.value)


def test_the_limit_of_requests_is_waited_for(github: GitHubPeer, target: GitHubTarget) -> None:
    github.limited = True
    with pytest.raises(TargetUnavailable) as caught:
        target.step(make, None)
    assert caught.value.retry_after == 60.0


def test_a_repository_that_is_not_there_is_named(github: GitHubPeer) -> None:
    with Egress() as egress, pytest.raises(TargetRefused, match="/repos/esa/nothing"):
        GitHubTarget(egress, "esa/nothing", github.token, api=github.api).step(make, None)
