"""What git servers send: real packs are read whole, hostile ones are refused within bounds."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import LimitError, PackageError
from broker.packages import pack
from broker.packages.repository import Place, Tree
from tests.peers.packs import BLOB, COMMIT, DELTA, TREE, answer, entry, line, name, number, packed

WHO = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"} | {
    f"GIT_{role}_{part}": "a" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
}


def test_a_real_pack_with_deltas(tmp_path: Path) -> None:
    def git(*words: str, input: bytes = b"") -> bytes:
        return subprocess.run(
            ["git", *words], cwd=tmp_path, env=WHO, input=input, check=True, capture_output=True
        ).stdout

    git("init", "-q")
    lines = [os.urandom(20).hex() for _ in range(3000)]
    for revision in range(5):
        (tmp_path / f"{revision}.txt").write_text("\n".join([*lines[revision * 7 :], str(revision)]))
    git("add", "-A")
    git("commit", "-q", "-m", "x")
    head = git("rev-parse", "HEAD").strip()
    made = git("pack-objects", "--revs", "--stdout", "--window=10", "--depth=50", input=head + b"\n")
    assert len(made) < 150_000, "five files of 120 kB are one and changes of it"
    tree = Tree(pack.received(answer(made)), head.decode())
    assert tree.root == bytes.fromhex(git("rev-parse", "HEAD^{tree}").decode().strip())
    for revision in range(5):
        assert tree(f"{revision}.txt") == (tmp_path / f"{revision}.txt").read_bytes()


def test_a_delta_before_its_base() -> None:
    base, changed = b"hello " * 10, b"hello world"
    delta = number(len(base)) + number(len(changed)) + bytes([0x90, 6]) + bytes([5]) + b"world"
    found = pack.unpacked(packed(entry(DELTA, delta, base=name("blob", base)), entry(BLOB, base)))
    assert found[name("blob", changed)] == (b"blob", changed)


MIB = 2**20
BASE = b"x" * 65536
OF_BASE = name("blob", BASE)
GROWN = number(len(BASE)) + number(65536 * 400 + 4) + b"\x80" * 400  # 25 MiB of 400 bytes
COPY = number(len(BASE)) + number(3 * 65536) + b"\x80" * 3
BAD = {
    "nothing": b"",
    "no pack": b"PACKAGE" * 10,
    "damaged": packed(entry(BLOB, b"x"))[:-1] + b"\0",
    "fewer than said": packed(entry(BLOB, b"x"), count=2),
    "more than said": packed(entry(BLOB, b"x"), entry(BLOB, b"y"), count=1),
    "kind 0": packed(entry(0, b"x")),
    "kind 5": packed(entry(5, b"x")),
    "offset delta": packed(entry(6, b"x")),
    "longer than it says": packed(entry(BLOB, bytes(10 * MIB), size=10)),
    "shorter than it says": packed(entry(BLOB, b"x", size=10)),
    "no zlib": packed(bytes([BLOB << 4 | 1]) + b"no zlib at all"),
    "base not there": packed(entry(DELTA, b"\0\0", base=bytes(20))),
    "delta of another base": packed(entry(BLOB, b"abc"), entry(DELTA, b"\x09\x01\x01x", base=name("blob", b"abc"))),
    "delta copies from behind": packed(entry(BLOB, b"a"), entry(DELTA, b"\1\5\x91\7\5", base=name("blob", b"a"))),
    "delta breaks off": packed(entry(BLOB, b"a"), entry(DELTA, b"\1\5\x9f\7", base=name("blob", b"a"))),
    "delta of nothing": packed(entry(BLOB, b"a"), entry(DELTA, b"\1\5\0", base=name("blob", b"a"))),
    "delta makes more than it says": packed(
        entry(BLOB, BASE), entry(DELTA, number(len(BASE)) + number(9) + b"\x80" * 1000, base=name("blob", BASE))
    ),
}  # fmt: skip
TOO_LARGE = {
    "one object": packed(entry(BLOB, b"x", size=33 * MIB)),
    "endless size": packed(bytes([0xBF]) + b"\xff" * 10_000),
    "a terabyte": packed(entry(BLOB, b"x", size=2**40)),
    "all objects": packed(*(entry(BLOB, bytes([number]) * (30 * MIB)) for number in range(5))),
    "deltas": packed(entry(BLOB, BASE), *(entry(DELTA, GROWN + b"\4%04d" % one, base=OF_BASE) for one in range(10))),
    "a large delta": packed(entry(BLOB, BASE), entry(DELTA, number(len(BASE)) + number(2**40), base=OF_BASE)),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_packs(case: str) -> None:
    with pytest.raises(PackageError):
        pack.unpacked(BAD[case])


@pytest.mark.parametrize("case", TOO_LARGE)
def test_bombs(case: str) -> None:
    assert len(TOO_LARGE[case]) < MIB, "small to send"
    with pytest.raises(LimitError):
        pack.unpacked(TOO_LARGE[case])


def test_too_many_objects() -> None:
    with pytest.raises(LimitError, match="files"):
        pack.unpacked(packed(bytes(32), count=10**6))


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"<html>", "not in git's protocol"),
        (b"ffff" + b"x" * 10, "breaks off"),
        (line(b"ERR upload-pack: not our ref 00\n"), "no such commit"),
        (line(b"ERR go away\n"), "refuses: go away"),
        (line(b"packfile\n") + line(b"\x03disk full"), "refuses: disk full"),
        (line(b"acknowledgments\n") + line(b"NAK\n") + b"0000", "sent no pack"),
    ],
)
def test_bad_answers(sent: bytes, words: str) -> None:
    with pytest.raises(PackageError, match=words):
        pack.received(sent)


GOOD = packed(
    entry(BLOB, BASE),
    entry(TREE, b"100644 a\0" + name("blob", BASE)),
    entry(DELTA, COPY, base=name("blob", BASE)),
)


@given(st.lists(st.tuples(st.integers(12, len(GOOD) - 21), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_damage_is_a_problem_of_the_package(changes: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD[:-20])
    for place, byte in changes:
        data[place] = byte
    try:
        found = pack.unpacked(bytes(data) + hashlib.sha1(data).digest())
    except (PackageError, LimitError):
        return
    for key, (kind, content) in found.items():
        assert key == name(kind.decode(), content)


def tree_of(*entries: tuple[str, str, bytes]) -> bytes:
    return b"".join(f"{mode} {file}".encode() + b"\0" + target for mode, file, target in entries)


def rooted(root: bytes, *more: bytes) -> Tree:
    commit = f"tree {name('tree', root).hex()}\ntree {'00' * 20}\ncommitter x <x> -1 +0000\n\nwords\ntree x".encode()
    return Tree(pack.unpacked(packed(entry(COMMIT, commit), entry(TREE, root), *more)), name("commit", commit).hex())


def test_a_tree_that_grows_without_end_is_not_walked() -> None:
    trees = [tree_of(("100644", "f", name("blob", b"x")))]
    for _ in range(12):
        trees.append(tree_of(*(("40000", f"d{one}", name("tree", trees[-1])) for one in range(10))))
    tree = rooted(
        tree_of(("40000", "top", name("tree", trees[-1]))), *(entry(TREE, one) for one in trees), entry(BLOB, b"x")
    )
    assert tree("top/" + "d0/" * 12 + "f") == b"x"
    with pytest.raises(LimitError):
        tree.listing("top")


def test_names_in_trees_lead_nowhere() -> None:
    blob = name("blob", b"x")
    odd = [("100644", "..", blob), ("100644", "a/../../b", blob), ("100755", "run", blob), ("120000", "link", blob)]
    tree = rooted(tree_of(*odd, ("160000", "sub", bytes(20))), entry(BLOB, b"x"))
    assert tree("run") == b"x"
    assert tree.committed is None
    for path in ("a/../../b", "a", "run/x", "", "/run"):
        with pytest.raises(OSError):
            tree(path)
    for path in ("link", "link/x", "sub", "sub/deep/x"):
        with pytest.raises(PackageError, match="is a"):
            tree(path)


def test_damaged_commits_and_trees() -> None:
    with pytest.raises(PackageError, match="damaged"):
        list(rooted(b"100644 a\0short").entries(rooted(b"100644 a\0short").root))
    for commit in (b"", b"tree x\n\n", b"tree " + b"0" * 39 + b"\n\n"):
        with pytest.raises(PackageError, match="damaged"):
            Tree(pack.unpacked(packed(entry(COMMIT, commit))), name("commit", commit).hex())
    with pytest.raises(PackageError, match="a blob in this repository"):
        Tree(pack.unpacked(packed(entry(BLOB, b"x"))), name("blob", b"x").hex())


@pytest.mark.parametrize(
    "repository", ["", None, 5, "https://", "https://host", "ssh://h/x", "https://h/x?a", "https://h/x#a",
                   "https://h/a b", "https://u@h/x", "https://[::1/x", "https://h/x\n", "--upload-pack=id",
                   "https://h/" + "x" * 1000]
)  # fmt: skip
def test_addresses_that_are_none(repository: object) -> None:
    unit = {"repository": repository, "commit": "AB" * 20, "path": "/a.cwl"}
    if repository == "https://h/x\n":
        assert Place.of(unit) == Place("https://h/x", "ab" * 20, "a.cwl")
        return
    with pytest.raises(PackageError, match="address"):
        Place.of(unit)
