"""The vault: what is sealed opens for its row only, with a key that is there, and nothing of it is shown."""

from __future__ import annotations

import base64
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from broker.access.vault import KEY_BYTES, KeyFile, Vault, parsed
from broker.errors import SetupError

BOND = ("id", "me", "http", "https://data.example.org")
PLAIN = b'{"token":"canary"}'


def text(*keys: bytes) -> str:
    return "\n".join(base64.b64encode(key).decode() for key in keys)


A, B = bytes(range(KEY_BYTES)), bytes(range(1, KEY_BYTES + 1))


def test_sealed_and_opened() -> None:
    vault = Vault.of_text(text(A))
    sealed = vault.seal(PLAIN, BOND)
    assert b"canary" not in sealed
    assert vault.open(sealed, BOND) == PLAIN
    assert vault.seal(PLAIN, BOND) != sealed  # a nonce of its own each time
    assert base64.b64encode(A).decode() not in repr(vault) + str(vars(vault))


@pytest.mark.parametrize("place", range(4))
def test_what_was_sealed_for_one_row_opens_in_no_other(place: int) -> None:
    vault = Vault.of_text(text(A))
    sealed = vault.seal(PLAIN, BOND)
    other = [*BOND]
    other[place] += "x"
    with pytest.raises(SetupError, match="not as the broker wrote it"):
        vault.open(sealed, other)


def test_a_bond_is_not_a_mere_joining_of_words() -> None:
    vault = Vault.of_text(text(A))
    with pytest.raises(SetupError):
        vault.open(vault.seal(PLAIN, ("a", "bc")), ("ab", "c"))


@pytest.mark.parametrize("place", [9, 20, 21, 30, -1])
def test_a_changed_byte_is_found(place: int) -> None:
    vault = Vault.of_text(text(A))
    sealed = bytearray(vault.seal(PLAIN, BOND))
    sealed[place] ^= 1
    with pytest.raises(SetupError):
        vault.open(bytes(sealed), BOND)


def test_another_key_opens_nothing() -> None:
    sealed = Vault.of_text(text(A)).seal(PLAIN, BOND)
    with pytest.raises(SetupError, match="a key that is not here"):
        Vault.of_text(text(B)).open(sealed, BOND)


def test_the_first_key_seals_and_all_open() -> None:
    old, both = Vault.of_text(text(A)), Vault.of_text(text(B, A))
    before, after = old.seal(PLAIN, BOND), both.seal(PLAIN, BOND)
    assert both.open(before, BOND) == both.open(after, BOND) == PLAIN
    assert not both.newest(before)
    assert both.newest(after)
    with pytest.raises(SetupError):
        old.open(after, BOND)


@pytest.mark.parametrize("bad", ["", "short", "x" * 44, base64.b64encode(b"x" * 31).decode()])
def test_what_is_no_key_is_not_repeated(bad: str) -> None:
    with pytest.raises(SetupError) as caught:
        parsed(bad, "BROKER_SECRETS__KEY")
    assert not bad or bad not in str(caught.value)


class TestKeyFile:
    def test_made_with_the_first_seal_and_closed_to_others(self, tmp_path: Path) -> None:
        file = KeyFile(tmp_path / "new" / "secrets.key")
        vault = Vault(file)
        assert file() == ()
        before = os.umask(0)
        try:
            sealed = vault.seal(PLAIN, BOND)
        finally:
            os.umask(before)
        assert file.path.stat().st_mode & 0o777 == 0o600
        assert Vault(KeyFile(file.path)).open(sealed, BOND) == PLAIN
        assert [one.name for one in file.path.parent.iterdir()] == ["secrets.key"]

    def test_opening_makes_no_key(self, tmp_path: Path) -> None:
        file = KeyFile(tmp_path / "secrets.key")
        with pytest.raises(SetupError, match="not here"):
            Vault(file).open(Vault.of_text(text(A)).seal(PLAIN, BOND), BOND)
        assert not file.path.exists()

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
    def test_refused_where_others_may_read_it(self, tmp_path: Path, mode: int) -> None:
        file = KeyFile(tmp_path / "secrets.key")
        file(make=True)
        file.path.chmod(mode)
        with pytest.raises(SetupError, match="chmod 600"):
            file()

    def test_of_many_who_make_it_at_once_one_wins(self, tmp_path: Path) -> None:
        file = KeyFile(tmp_path / "secrets.key")
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: file(make=True), range(32)))
        assert len(set(found)) == 1

    def test_rotation(self, tmp_path: Path) -> None:
        file = KeyFile(tmp_path / "secrets.key")
        vault = Vault(file)
        sealed = vault.seal(PLAIN, BOND)
        file.add()
        assert not vault.newest(sealed)  # who runs already takes the new key up
        again = vault.seal(vault.open(sealed, BOND), BOND)
        file.drop_old()
        assert vault.open(again, BOND) == PLAIN
        with pytest.raises(SetupError):
            vault.open(sealed, BOND)
