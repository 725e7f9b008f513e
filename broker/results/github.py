"""The catalog on GitHub: a fork, one branch with one commit there, and a pull request that is followed to its end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

from broker.egress import Egress
from broker.errors import TargetRefused, TargetUnavailable
from broker.results.catalog import AUTHOR, Make, Receipt, is_of, receipt_of, valid
from broker.results.catalogplan import Plan
from broker.results.githubapi import API, GitHubApi, GitHubTree, heads
from broker.results.strictrules import moment_of

_PASSED = {"success", "neutral", "skipped"}
_MOST_TOLD, _NAME, _TEXT = 20, 200, 2000  # failed checks and reviewers of a receipt; characters of what they say


class GitHubTarget:
    """`repository`: `owner/name` of the catalog; `base`: its live branch. The fork belongs to whose token it is."""

    def __init__(
        self,
        egress: Egress,
        repository: str,
        token: str,
        *,
        base: str = "main",
        api: str = API,
        author: tuple[str, str] = AUTHOR,
    ) -> None:
        self.repository, self.base, self.author = repository, base, author
        self._api = GitHubApi(egress, token, api)

    def live(self) -> str:
        found = self._api.get(f"/repos/{self.repository}/git/ref/{heads(self.base)}")
        return str(found["object"]["sha"])

    def plan(self, make: Make) -> Plan:
        return make(GitHubTree(self._api, self.repository, self.live()))

    def step(self, make: Make, receipt: Mapping[str, Any] | None) -> Receipt:
        """One of: fork; commit; propose. `forking` comes again until GitHub has copied the repository."""
        plan = valid(self.plan(make))
        if not plan.files:
            return {**(receipt or {}), **receipt_of(plan, "merged", repository=self.repository)}
        done = dict(receipt or {})
        if "fork" not in done:
            found = self._api.ask("POST", f"/repos/{self.repository}/forks", {"default_branch_only": True}).body
            return receipt_of(plan, "forking", repository=self.repository, fork=found["full_name"])
        if done.get("plan") != plan.digest or "commit" not in done:
            commit = self._commit(make, str(done["fork"]))
            if commit is None:
                return {**done, "state": "forking"}
            return {**done, **receipt_of(plan, "committed", commit=commit)}
        return {**done, **self._propose(plan, str(done["fork"]), str(done["commit"]))}

    def observe(self, make: Make, receipt: Mapping[str, Any]) -> Receipt:
        """The state of the pull request: its checks and reviews, as a person would read them."""
        del make
        if "number" not in receipt:
            return dict(receipt)
        pull = self._api.get(f"/repos/{self.repository}/pulls/{receipt['number']}")
        if pull.get("merged"):
            return {**receipt, "state": "merged", "merge": pull.get("merge_commit_sha")}
        if pull["state"] == "closed":
            return {**receipt, "state": "closed"}
        return {**receipt, "state": "proposed", **self._checks(pull["head"]["sha"]), **self._reviews(pull["number"])}

    def withdraw(self, receipt: Mapping[str, Any]) -> Receipt:
        """Close the pull request and remove the branch."""
        if "number" in receipt:
            path = f"/repos/{self.repository}/pulls/{receipt['number']}"
            pull = self._api.get(path)
            if pull.get("merged"):
                raise TargetRefused("It is merged already.", hint="Publish a correction that names it as previous.")
            if pull["state"] == "open":
                self._api.ask("PATCH", path, {"state": "closed"})
        if "fork" in receipt:  # 422: there is no such branch
            path = f"/repos/{receipt['fork']}/git/refs/{heads(receipt['branch'])}"
            self._api.ask("DELETE", path, also=(404, 422))
        return {**receipt, "state": "withdrawn"}

    def _head(self, repository: str, branch: str) -> str | None:
        found = self._api.find(f"/repos/{repository}/git/ref/{heads(branch)}")
        return None if found is None else str(found["object"]["sha"])

    def _commit(self, make: Make, fork: str) -> str | None:
        """The one commit of the plan, on a branch of the fork; None while there is no fork yet."""
        if self._head(fork, self.base) is None:
            return None
        base = self._synced(fork)
        tree = GitHubTree(self._api, fork, base)
        plan = valid(make(tree))
        there = self._head(fork, plan.branch)
        if there is not None:
            message = self._api.get(f"/repos/{fork}/git/commits/{there}")["message"]
            if is_of(str(message), plan):
                return there
        entries = [
            {"path": path, "mode": "100644", "type": "blob", "content": content.decode()}
            for path, content in sorted(plan.files.items())
        ]
        made = self._api.ask("POST", f"/repos/{fork}/git/trees", {"base_tree": tree.tree, "tree": entries}).body
        name, email = self.author
        who = {
            "name": name,
            "email": email,
            "date": moment_of(plan.moment).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        body = {"message": plan.message, "tree": made["sha"], "parents": [base], "author": who, "committer": who}
        commit = str(self._api.ask("POST", f"/repos/{fork}/git/commits", body).body["sha"])
        if there is None:
            self._api.ask("POST", f"/repos/{fork}/git/refs", {"ref": f"refs/heads/{plan.branch}", "sha": commit})
        elif there != commit:
            path = f"/repos/{fork}/git/refs/{heads(plan.branch)}"
            self._api.ask("PATCH", path, {"sha": commit, "force": True})
        return commit

    def _synced(self, fork: str) -> str:
        """The commit of the live branch, which the fork then has too."""
        live = self._head(self.repository, self.base)
        if live is None:
            raise TargetRefused(f"{self.repository} has no branch {self.base}.")
        if self._head(fork, self.base) == live:
            return live
        reply = self._api.ask("POST", f"/repos/{fork}/merge-upstream", {"branch": self.base}, also=(409, 422))
        if reply.status != 200:
            hint = f"Make the branch {self.base} of {fork} what it is in {self.repository}."
            raise TargetRefused(f"The fork {fork} cannot be brought up to date: {reply.said()}.", hint=hint)
        if self._head(fork, self.base) != self._head(self.repository, self.base):
            raise TargetUnavailable(
                f"{fork} is not what {self.repository} is, since that has just changed or was changed."
            )
        return str(self._head(fork, self.base))

    def _propose(self, plan: Plan, fork: str, commit: str) -> Receipt:
        owner = fork.partition("/")[0]
        path = f"/repos/{self.repository}/pulls"
        pulls = self._api.get(path, head=f"{owner}:{plan.branch}", state="all", base=self.base)
        pull = next((one for one in pulls if one["state"] == "open" or one["head"]["sha"] == commit), None)
        if pull is None:
            body = {"title": f"Publish {plan.title}"[:250], "head": f"{owner}:{plan.branch}", "base": self.base}
            pull = self._api.ask("POST", path, {**body, "body": _told(plan), "maintainer_can_modify": True}).body
        state = "merged" if pull.get("merged_at") else "proposed" if pull["state"] == "open" else "closed"
        return {"state": state, "number": pull["number"], "href": pull["html_url"]}

    def _checks(self, commit: str) -> dict[str, Any]:
        found = self._api.get(f"/repos/{self.repository}/commits/{commit}/check-runs", per_page="100")["check_runs"]
        failed = [
            {"name": str(one["name"])[:_NAME], "href": str(one.get("html_url") or "")[:_TEXT] or None}
            for one in found
            if one["status"] == "completed" and one["conclusion"] not in _PASSED
        ]
        running = any(one["status"] != "completed" for one in found)
        verdict = "failed" if failed else "running" if running else "passed" if found else "none"
        return {"checks": verdict, "failed": failed[:_MOST_TOLD]}

    def _reviews(self, number: int) -> dict[str, Any]:
        """The last word of each reviewer; a comment is none."""
        last: dict[str, Mapping[str, Any]] = {}
        for one in self._api.get(f"/repos/{self.repository}/pulls/{number}/reviews", per_page="100"):
            if one["state"] in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED"):
                last[one["user"]["login"]] = one
        asked = [one for one in last.values() if one["state"] == "CHANGES_REQUESTED"]
        approved = any(one["state"] == "APPROVED" for one in last.values())
        verdict = "changes requested" if asked else "approved" if approved else "none"
        return {
            "review": verdict,
            "asked": [
                {"by": str(one["user"]["login"])[:_NAME], "text": str(one["body"])[:_TEXT]}
                for one in asked[:_MOST_TOLD]
            ],
        }


def _told(plan: Plan) -> str:
    """What the pull request says of itself."""
    lines = ["Proposed by an EarthCODE broker, which checked the records by the catalog's rules.", ""]
    lines += [f"- {kind}: `{address}`" for kind, addresses in plan.records.items() for address in addresses]
    lines += ["", f"Publication: {plan.publication}"]
    return "\n".join(lines + ([f"Corrects: {plan.previous}"] if plan.previous else []))
