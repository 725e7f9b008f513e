"""A remote git repository, by the git program in a folder of its own: no work tree, no hooks, no configuration of the
machine, no questions, no redirects. What the program is told in secret goes in its environment, never on its command
line, and is taken out of what it says.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from broker.errors import SetupError, TargetRefused, TargetUnavailable
from broker.jobs.secrets import scrubbed

_SETTINGS = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "credential.helper": "",
    "fetch.fsckObjects": "true",
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "protocol.version": "2",
    "submodule.recurse": "false",
}
_SECONDS = 300
_MOST_FILES, _LARGEST = 200_000, 16 * 2**20  # of a catalog; bytes of a file that is read
_NEVER = re.compile(
    r"authentication failed|could not read username|access denied|permission|forbidden|returned error: (401|403|404)"
    r"|not found|does not appear to be a git|does not exist|hook declined|protected branch",
    re.IGNORECASE,
)


class GitRepository:
    """A remote repository; a context manager. `authorization`: the value of an HTTP header, sent to that address only;
    `ca_file`: certificates to trust. Methods raise TargetUnavailable, TargetRefused."""

    def __init__(self, remote: str, authorization: str | None = None, ca_file: str | None = None) -> None:
        self.remote = remote
        self._secret = authorization
        settings = dict(_SETTINGS)
        if authorization is not None:
            settings[f"http.{remote}.extraHeader"] = f"Authorization: {authorization}"
        if ca_file is not None:
            settings["http.sslCAInfo"] = ca_file
        self._environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": os.devnull,
            "LC_ALL": "C",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "false",
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
            "GIT_ALLOW_PROTOCOL": "https:http:ssh:file",
            "GIT_CONFIG_COUNT": str(len(settings)),
        }
        for number, (name, value) in enumerate(settings.items()):
            self._environment |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}

    def __enter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="catalog-")
        try:
            self._run("init", "-q", "--bare", ".")
        except BaseException:
            self._folder.cleanup()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def branches(self) -> dict[str, str]:
        """Name -> commit, of the remote."""
        lines = self._run("ls-remote", "--heads", "--", self.remote).decode().splitlines()
        pairs = (line.split("\t", 1) for line in lines)
        return {ref.removeprefix("refs/heads/"): commit for commit, ref in pairs}

    def fetch(self, branch: str) -> str:
        """Get the last commit of a branch; its name."""
        place = f"refs/fetched/{branch}"
        self._run("fetch", "-q", "--depth=1", "--no-tags", "--", self.remote, f"+refs/heads/{branch}:{place}")
        return self._run("rev-parse", "--verify", place).decode().strip()

    def tree(self, commit: str) -> GitTree:
        """The files of a fetched commit: no links, no other repositories, no names that are no text."""
        sizes: dict[str, int] = {}
        for line in self._run("ls-tree", "-r", "-z", "-l", commit).split(b"\0"):
            facts, _, name = line.partition(b"\t")
            mode, _, _, size = facts.split() if name else (b"", b"", b"", b"")
            if mode.startswith(b"100"):
                with suppress(UnicodeDecodeError):
                    sizes[name.decode()] = int(size)
        if len(sizes) > _MOST_FILES:
            raise TargetRefused(f"The repository has {len(sizes)} files, which no catalog has ({_MOST_FILES}).")
        return GitTree(self, commit, sizes)

    def message(self, commit: str) -> str:
        return self._run("log", "-1", "--format=%B", commit).decode("utf-8", "replace")

    def commit(
        self, parent: str, files: Mapping[str, bytes], message: str, author: tuple[str, str], moment: str
    ) -> str:
        """A commit with files changed or added; the same name for the same arguments. `author`: name and e-mail."""
        name, email = author
        who = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", name), ("EMAIL", email), ("DATE", moment))
        }
        index = {"GIT_INDEX_FILE": str(Path(self._folder.name) / "index")}
        self._run("read-tree", parent, more=index)
        lines = []
        for path, content in sorted(files.items()):
            blob = self._run("hash-object", "-w", "--stdin", given=content).decode().strip()
            lines.append(f"100644 {blob}\t{path}\0")
        self._run("update-index", "-z", "--index-info", given="".join(lines).encode(), more=index)
        tree = self._run("write-tree", more=index).decode().strip()
        return self._run("commit-tree", tree, "-p", parent, given=message.encode(), more=who).decode().strip()

    def push(self, commit: str | None, branch: str, expected: str | None) -> None:
        """Let a branch of the remote be a commit (None: remove it), if it is still what is expected (None: not there);
        else TargetUnavailable."""
        ref = f"refs/heads/{branch}"
        lease = f"--force-with-lease={ref}:{expected or ''}"
        self._run("push", "-q", lease, "--", self.remote, f"{commit or ''}:{ref}")

    def show(self, commit: str, path: str) -> bytes:
        return self._run("cat-file", "blob", f"{commit}:{path}")

    def _run(self, *words: str, given: bytes | None = None, more: Mapping[str, str] | None = None) -> bytes:
        try:
            done = subprocess.run(
                ["git", *words],
                cwd=self._folder.name,
                env={**self._environment, **(more or {})},
                input=given,
                stdin=subprocess.DEVNULL if given is None else None,
                capture_output=True,
                timeout=_SECONDS,
                check=False,
            )
        except FileNotFoundError as problem:
            raise SetupError(
                "The program git is not installed.", hint="Install git, or use another target."
            ) from problem
        except subprocess.TimeoutExpired as problem:
            raise TargetUnavailable(f"git {words[0]} took longer than {_SECONDS} seconds.") from problem
        if done.returncode == 0:
            return done.stdout
        all_said = done.stderr.decode("utf-8", "replace")
        said = self._plain(all_said)
        if _NEVER.search(all_said):
            hint = "Check the target's address, and the credential that it is used with."
            raise TargetRefused(f"git {words[0]}: {said}", hint=hint)
        raise TargetUnavailable(f"git {words[0]}: {said}")

    def _plain(self, said: str) -> str:
        """The last lines of what git said, without the secret and without our folder."""
        secrets = [] if self._secret is None else [self._secret, self._secret.rpartition(" ")[2]]
        lines = scrubbed(said, secrets).replace(self._folder.name, "").strip().splitlines()
        return " ".join(lines[-3:])[:500]


class GitTree:
    """The files of one commit."""

    def __init__(self, repository: GitRepository, commit: str, sizes: Mapping[str, int]) -> None:
        self.commit = commit
        self._repository, self._sizes = repository, sizes
        self._read: dict[str, bytes] = {}

    def paths(self) -> Iterable[str]:
        return self._sizes

    def read(self, path: str) -> bytes | None:
        if path not in self._sizes:
            return None
        if self._sizes[path] > _LARGEST:
            raise TargetRefused(f"{path[:200]} has {self._sizes[path]} bytes, which no record has ({_LARGEST}).")
        if path not in self._read:
            self._read[path] = self._repository.show(self.commit, path)
        return self._read[path]
