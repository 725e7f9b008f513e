"""A double of GitHub's REST API on loopback, for exactly the calls that publishing in the catalog makes.

with GitHubPeer(tmp_path, "esa/catalog", files) as github:
    github.api, github.token, github.login
    github.git("esa/catalog", "log")       # the repositories are real bare git repositories
    github.fork_after = 2                  # so many questions for the fork until it is there
    github.breaks = (3, "before"|"after")  # the connection of the third change ends before or after its effect

The calls: POST forks · GET git/ref · GET git/commits · GET git/trees?recursive · GET git/blobs · POST merge-upstream ·
POST git/trees · POST git/commits · POST, PATCH and DELETE git/refs · GET and POST pulls · GET and PATCH pulls/N ·
GET commits/SHA/check-runs · GET pulls/N/reviews. Everything else is a 404 that the tests would see.

It differs from GitHub in this: one user, one token, no rights of a token but all or none; fields of answers that the
client does not read are left out; a fork is a full copy with objects of its own, where GitHub shares them; no limit of
requests unless `limited` is set; lists have one page; POST git/trees takes only `content`; the check of a pull request
and its reviews are what the test sets (`checks`, `reviews`), and `merge` stands for the button.
"""

from __future__ import annotations

import base64
import http.server
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from tests.peers.git import WHO
from tests.peers.osc import bare

Answer = tuple[int, Any]
_ROUTES: list[tuple[str, re.Pattern[str], str]] = [
    (method, re.compile(f"/repos/(?P<repo>[^/]+/[^/]+){pattern}\\Z"), name)
    for method, pattern, name in [
        ("GET", "", "get"),
        ("POST", "/forks", "fork"),
        ("GET", "/git/ref/heads/(?P<branch>.+)", "get_ref"),
        ("GET", "/git/commits/(?P<sha>[0-9a-f]{40})", "get_commit"),
        ("GET", "/git/trees/(?P<sha>[0-9a-f]{40})", "get_tree"),
        ("GET", "/git/blobs/(?P<sha>[0-9a-f]{40})", "get_blob"),
        ("POST", "/merge-upstream", "merge_upstream"),
        ("POST", "/git/trees", "make_tree"),
        ("POST", "/git/commits", "make_commit"),
        ("POST", "/git/refs", "make_ref"),
        ("PATCH", "/git/refs/heads/(?P<branch>.+)", "move_ref"),
        ("DELETE", "/git/refs/heads/(?P<branch>.+)", "remove_ref"),
        ("GET", "/pulls", "list_pulls"),
        ("POST", "/pulls", "make_pull"),
        ("GET", "/pulls/(?P<number>[0-9]+)", "get_pull"),
        ("PATCH", "/pulls/(?P<number>[0-9]+)", "close_pull"),
        ("GET", "/pulls/(?P<number>[0-9]+)/reviews", "get_reviews"),
        ("GET", "/commits/(?P<sha>[0-9a-f]{40})/check-runs", "get_checks"),
    ]
]


class GitHubPeer:
    """The server; a context manager. `changes`: the requests that were not GET."""

    def __init__(self, folder: Path, repository: str, files: Mapping[str, bytes] | None = None) -> None:
        self.folder, self.upstream = folder, repository
        self.login, self.token = "ada", "github_pat_canary_0123456789"
        self.place(repository).parent.mkdir(parents=True)
        bare(self.place(repository), files)
        self.fork_after, self.limited = 0, False
        self.breaks: tuple[int, str] | None = None
        self.changes: list[str] = []
        self.pulls: list[dict[str, Any]] = []
        self.checks: list[dict[str, Any]] = []
        self.reviews: list[dict[str, Any]] = []
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), self)
        self.api = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def place(self, repository: str) -> Path:
        return self.folder / f"{repository}.git"

    def git(
        self, repository: str, *words: str, given: bytes | None = None, more: Mapping[str, str] | None = None
    ) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **WHO, **(more or {})}
        place = self.place(repository)
        return subprocess.run(
            ["git", *words], cwd=place, env=environment, input=given, check=True, capture_output=True
        ).stdout.decode()

    def merge(self, number: int) -> None:
        """Press the button: squash the pull request onto the branch."""
        pull = self.pulls[number - 1]
        fork, branch = pull["fork"], pull["branch"]
        self.git(self.upstream, "fetch", "-q", str(self.place(fork)), branch)
        tree = self.git(self.upstream, "rev-parse", "FETCH_HEAD^{tree}").strip()
        head = self.git(self.upstream, "rev-parse", "main").strip()
        commit = self.git(self.upstream, "commit-tree", tree, "-p", head, "-m", "merged").strip()
        self.git(self.upstream, "update-ref", "refs/heads/main", commit)
        pull |= {"merged": True, "merged_at": "2026-11-22T12:00:00Z", "state": "closed", "merge_commit_sha": commit}

    def answer(self, method: str, path: str, query: Mapping[str, list[str]], body: Any) -> Answer:
        for route, pattern, name in _ROUTES:
            found = pattern.match(path)
            if route == method and found:
                parts = found.groupdict()
                repository = parts.pop("repo")
                if not self.place(repository).exists():
                    return 404, {"message": "Not Found"}
                values = {key: value[0] for key, value in query.items()}
                call: Callable[..., Answer] = getattr(self, f"_{name}")
                return call(repository, body if body is not None else values, **parts)
        return 404, {"message": f"Not Found: the double has no {method} {path}"}

    def _get(self, repo: str, body: Any) -> Answer:
        return 200, {"full_name": repo}

    def _fork(self, repo: str, body: Any) -> Answer:
        fork = f"{self.login}/{repo.split('/')[1]}"
        if not self.place(fork).exists():
            self.place(fork).parent.mkdir(parents=True, exist_ok=True)
            self.git(repo, "clone", "-q", "--bare", "--single-branch", ".", str(self.place(fork)))
        return 202, {"full_name": fork}

    def _get_ref(self, repo: str, body: Any, branch: str) -> Answer:
        if repo != self.upstream and branch == "main" and self.fork_after > 0:
            self.fork_after -= 1
            return 409, {"message": "Git Repository is empty."}
        sha = self.sha(repo, branch)
        return (404, {"message": "Not Found"}) if sha is None else (200, {"object": {"sha": sha, "type": "commit"}})

    def sha(self, repo: str, branch: str) -> str | None:
        listed = self.git(repo, "for-each-ref", "--format=%(objectname)", f"refs/heads/{branch}").split()
        return listed[0] if listed else None

    def _get_commit(self, repo: str, body: Any, sha: str) -> Answer:
        tree, message = self.git(repo, "log", "-1", "--format=%T%n%B", sha).split("\n", 1)
        return 200, {"sha": sha, "tree": {"sha": tree}, "message": message}

    def _get_tree(self, repo: str, body: Any, sha: str) -> Answer:
        assert body == {"recursive": "1"}
        entries = (line.split("\t", 1) for line in self.git(repo, "ls-tree", "-r", "-z", sha).split("\0") if line)
        tree = [{"path": path, "type": facts.split()[1], "sha": facts.split()[2]} for facts, path in entries]
        return 200, {"tree": tree, "truncated": False}

    def _get_blob(self, repo: str, body: Any, sha: str) -> Answer:
        content = base64.encodebytes(self.git(repo, "cat-file", "blob", sha).encode()).decode()
        return 200, {"content": content, "encoding": "base64"}

    def _merge_upstream(self, repo: str, body: Any) -> Answer:
        source, branch = str(self.place(self.upstream)), body["branch"]
        try:
            self.git(repo, "fetch", "-q", source, f"refs/heads/{branch}:refs/heads/{branch}")
        except subprocess.CalledProcessError:
            return 409, {"message": "There are merge conflicts"}
        return 200, {"merge_type": "fast-forward"}

    def _make_tree(self, repo: str, body: Any) -> Answer:
        index = {"GIT_INDEX_FILE": str(self.folder / "index")}
        self.git(repo, "read-tree", body["base_tree"], more=index)
        for one in body["tree"]:
            assert set(one) == {"path", "mode", "type", "content"}
            blob = self.git(repo, "hash-object", "-w", "--stdin", given=one["content"].encode()).strip()
            self.git(repo, "update-index", "--add", "--cacheinfo", f"{one['mode']},{blob},{one['path']}", more=index)
        return 201, {"sha": self.git(repo, "write-tree", more=index).strip()}

    def _make_commit(self, repo: str, body: Any) -> Answer:
        who = {
            f"GIT_{role.upper()}_{what.upper()}": body[role][what]
            for role in ("author", "committer")
            for what in ("name", "email", "date")
        }
        parents = [word for parent in body["parents"] for word in ("-p", parent)]
        made = self.git(repo, "commit-tree", body["tree"], *parents, given=body["message"].encode(), more=who)
        return 201, {"sha": made.strip()}

    def _make_ref(self, repo: str, body: Any) -> Answer:
        branch = body["ref"].removeprefix("refs/heads/")
        if self.sha(repo, branch) is not None:
            return 422, {"message": "Reference already exists"}
        self.git(repo, "update-ref", f"refs/heads/{branch}", body["sha"])
        return 201, {"object": {"sha": body["sha"]}}

    def _move_ref(self, repo: str, body: Any, branch: str) -> Answer:
        if self.sha(repo, branch) is None or body.get("force") is not True:
            return 422, {"message": "Reference does not exist"}
        self.git(repo, "update-ref", f"refs/heads/{branch}", body["sha"])
        return 200, {"object": {"sha": body["sha"]}}

    def _remove_ref(self, repo: str, body: Any, branch: str) -> Answer:
        if self.sha(repo, branch) is None:
            return 422, {"message": "Reference does not exist"}
        self.git(repo, "update-ref", "-d", f"refs/heads/{branch}")
        return 204, None

    def _shown(self, pull: dict[str, Any]) -> dict[str, Any]:
        head = self.sha(pull["fork"], pull["branch"]) or pull["sha"]
        pull["sha"] = head
        return {**{key: pull[key] for key in pull if key not in ("fork", "branch", "sha")}, "head": {"sha": head}}

    def _list_pulls(self, repo: str, body: Any) -> Answer:
        owner, branch = body["head"].split(":", 1)
        assert body["state"] == "all"
        found = [one for one in self.pulls if one["branch"] == branch and one["fork"].startswith(f"{owner}/")]
        return 200, [self._shown(one) for one in reversed(found)]

    def _make_pull(self, repo: str, body: Any) -> Answer:
        owner, branch = body["head"].split(":", 1)
        fork = f"{owner}/{repo.split('/')[1]}"
        sha = self.sha(fork, branch)
        if sha is None:
            return 422, {"message": "Validation Failed", "errors": [{"field": "head", "code": "invalid"}]}
        if any(one["branch"] == branch and one["state"] == "open" for one in self.pulls):
            return 422, {"message": "Validation Failed", "errors": [{"message": "A pull request already exists"}]}
        number = len(self.pulls) + 1
        address = f"https://github.example.org/{repo}/pull/{number}"
        pull = {"number": number, "state": "open", "html_url": address, "merged": False, "merged_at": None}
        self.pulls.append(
            {**pull, "title": body["title"], "body": body["body"], "fork": fork, "branch": branch, "sha": sha}
        )
        return 201, self._shown(self.pulls[-1])

    def _get_pull(self, repo: str, body: Any, number: str) -> Answer:
        return 200, self._shown(self.pulls[int(number) - 1])

    def _close_pull(self, repo: str, body: Any, number: str) -> Answer:
        assert body == {"state": "closed"}
        self.pulls[int(number) - 1]["state"] = "closed"
        return 200, self._shown(self.pulls[int(number) - 1])

    def _get_reviews(self, repo: str, body: Any, number: str) -> Answer:
        return 200, self.reviews

    def _get_checks(self, repo: str, body: Any, sha: str) -> Answer:
        return 200, {"total_count": len(self.checks), "check_runs": self.checks}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], peer: GitHubPeer) -> None:
        self.peer = peer
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that ends is part of the tests."""


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def _answer(self) -> None:
        peer, parts = self.server.peer, urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {peer.token}":
            return self._send(401, {"message": "Bad credentials"})
        if peer.limited:
            return self._send(403, {"message": "API rate limit exceeded"}, {"X-RateLimit-Remaining": "0"})
        with peer.lock:
            broken = None
            if self.command != "GET":
                peer.changes.append(f"{self.command} {parts.path}")
                if peer.breaks is not None and peer.breaks[0] == len(peer.changes):
                    broken = peer.breaks[1]
            if broken == "before":
                return self._hang_up()
            given = json.loads(raw) if raw else None
            status, body = peer.answer(self.command, parts.path, parse_qs(parts.query), given)
        if broken == "after":
            return self._hang_up()
        return self._send(status, body)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(2)

    def _send(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        raw = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_PATCH = do_DELETE = _answer
