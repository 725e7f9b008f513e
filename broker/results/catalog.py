"""Where a publication in the catalog goes: a git repository (here), a fork on GitHub (`github.py`), or a zip file.

A target takes a function that makes the plan for the catalog as it is now, and does one thing at a time:

    receipt = None
    while receipt is None or receipt["state"] not in ENDS:
        receipt = target.step(make, receipt)     # kept after each

States: `forking` -> `committed` (GitHub only) -> `proposed` -> `merged` | `closed`; `withdrawn`. A step that was done
and whose receipt was lost changes nothing when it is done again: there is one branch for each publication, its commit
says which plan it is, and the commit of one plan on one base has one name.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import Any, Protocol, TypeVar

from broker.errors import TargetRefused
from broker.results.catalogplan import Plan
from broker.results.gitrepository import GitRepository, GitTree
from broker.results.osc import HOME, Finding
from broker.results.strictrules import moment_of
from broker.results.tree import Tree

Receipt = dict[str, Any]
T = TypeVar("T")
Make = Callable[[Tree], Plan]
ENDS = ("proposed", "merged")
AUTHOR = ("EarthCODE broker", "broker@localhost")


class NotValid(TargetRefused):
    """The plan breaks the catalog's rules."""

    reason = "records-not-valid"

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        told = "; ".join(str(finding) for finding in findings[:5])
        more = f"; and {len(findings) - 5} more" if len(findings) > 5 else ""
        super().__init__(f"The records are not valid: {told}{more}.")
        self.findings = findings


class CatalogTarget(Protocol):
    """All methods raise TargetUnavailable (try later) and TargetRefused; NotValid before anything leaves."""

    def live(self) -> str:
        """The commit that is live: whether the catalog can be reached, and takes the credential."""

    def plan(self, make: Make) -> Plan:
        """The plan for the catalog as it is; changes nothing."""

    def step(self, make: Make, receipt: Mapping[str, Any] | None) -> Receipt:
        """Do one thing, and the new receipt."""

    def observe(self, make: Make, receipt: Mapping[str, Any]) -> Receipt:
        """What became of a proposal."""

    def withdraw(self, receipt: Mapping[str, Any]) -> Receipt:
        """Take a proposal back that was not merged."""


def valid(plan: Plan) -> Plan:
    """The plan, if it may leave. Raises NotValid."""
    if plan.findings:
        raise NotValid(plan.findings)
    return plan


def receipt_of(plan: Plan, state: str, **more: Any) -> Receipt:
    found = {"state": state, "branch": plan.branch, "plan": plan.digest, "records": dict(plan.records), **more}
    return {name: value for name, value in found.items() if value is not None}


def is_of(message: str, plan: Plan) -> bool:
    """Whether a commit's message is of this plan."""
    return f"Plan: {plan.digest}" in message.splitlines()


class GitTarget:
    """A branch in any repository that git can push to; somebody merges it there. `base`: the branch that is live."""

    def __init__(
        self,
        remote: str,
        base: str = "main",
        *,
        authorization: str | None = None,
        author: tuple[str, str] = AUTHOR,
        ca_file: str | None = None,
    ) -> None:
        self.remote, self.base, self.author = remote, base, author
        self._authorization, self._ca_file = authorization, ca_file

    def live(self) -> str:
        with self._repository() as git:
            return git.fetch(self.base)

    def read(self, look: Callable[[Tree], T]) -> T:
        """What is seen in the catalog as it is."""
        with self._repository() as git:
            return look(self._live(git))

    def plan(self, make: Make) -> Plan:
        return self.read(make)

    def step(self, make: Make, receipt: Mapping[str, Any] | None) -> Receipt:
        with self._repository() as git:
            live = self._live(git)
            plan = valid(make(live))
            if not plan.files:
                return receipt_of(plan, "merged", commit=live.commit, remote=self.remote)
            there = git.branches().get(plan.branch)
            if there is not None and is_of(git.message(git.fetch(plan.branch)), plan):
                return receipt_of(plan, "proposed", commit=there, remote=self.remote)
            moment = moment_of(plan.moment).astimezone(UTC).isoformat()
            commit = git.commit(live.commit, plan.files, plan.message, self.author, moment)
            git.push(commit, plan.branch, there)
            return receipt_of(plan, "proposed", commit=commit, remote=self.remote)

    def observe(self, make: Make, receipt: Mapping[str, Any]) -> Receipt:
        with self._repository() as git:
            live = self._live(git)
            plan = make(live)
            if not plan.files:
                return {**receipt, "state": "merged", "merge": live.commit}
            if receipt["branch"] in git.branches():
                return {**receipt, "state": "proposed"}
            paths = {url.removeprefix(HOME) for urls in receipt["records"].values() for url in urls}
            if plan.previous is None and paths <= set(live.paths()):  # whoever merged it changed something
                return {**receipt, "state": "merged", "merge": live.commit, "edited": sorted(plan.files)}
            return {**receipt, "state": "closed"}

    def withdraw(self, receipt: Mapping[str, Any]) -> Receipt:
        with self._repository() as git:
            there = git.branches().get(receipt["branch"])
            if there is not None:
                git.push(None, receipt["branch"], there)
            return {**receipt, "state": "withdrawn"}

    def _repository(self) -> GitRepository:
        return GitRepository(self.remote, self._authorization, self._ca_file)

    def _live(self, git: GitRepository) -> GitTree:
        return git.tree(git.fetch(self.base))


def bundle(plan: Plan) -> bytes:
    """The plan as a zip file for who proposes it by hand: the files as they shall be, and `changes.diff` for
    `git apply`; the same bytes for the same plan. Raises NotValid."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        files = {**valid(plan).files, "changes.diff": plan.diff().encode(), "message.txt": plan.message.encode()}
        for path, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
