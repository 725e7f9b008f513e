"""The vault: encrypts what is secret of a credential, bound to the row that it belongs to.

AES-256-GCM. Sealed: one byte of version, 8 of the key's name, 12 of nonce, then ciphertext and tag. The row's `bond`
is associated data: what was sealed for one row opens in no other. Keys are 32 bytes, written in base64, one a line;
the first one seals, all of them open.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from broker.errors import SetupError

_VERSION = b"\x01"
_NAME, _NONCE, KEY_BYTES = 8, 12, 32
_HEAD = len(_VERSION) + _NAME + _NONCE


class KeyFile:
    """The file that holds the keys. Only its owner may read it; anything else is a SetupError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, *, make: bool = False) -> tuple[bytes, ...]:
        """The keys, first the one that seals; () where there is no file, unless it is to be made."""
        try:
            with self.path.open("rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise SetupError(f"Others may read the keys in {self.path}.", hint=f"Run: chmod 600 {self.path}")
                return parsed(file.read().decode("ascii", "replace"), str(self.path))
        except FileNotFoundError:
            if not make:
                return ()
            self._write(secrets.token_bytes(KEY_BYTES), only_new=True)
            return self()
        except OSError as error:
            raise SetupError(f"The keys in {self.path} cannot be read: {error.strerror}.") from error

    def add(self) -> None:
        """A new first key; the others stay, to open what they sealed."""
        self._write(secrets.token_bytes(KEY_BYTES), *self())

    def drop_old(self) -> None:
        """Only the first key stays."""
        self._write(*self()[:1])

    def _write(self, *keys: bytes, only_new: bool = False) -> None:
        """The file is there whole and closed to others, or not at all; of two that make it at once one wins."""
        text = "".join(base64.b64encode(key).decode() + "\n" for key in keys)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = self.path.with_name(f".{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as sink:
                sink.write(text)
                sink.flush()
                os.fsync(sink.fileno())
            if not only_new:
                draft.replace(self.path)
                return
            with contextlib.suppress(FileExistsError):
                os.link(draft, self.path)
            draft.unlink()
        except OSError as error:
            raise SetupError(f"The keys cannot be written to {self.path}: {error.strerror}.") from error


class Vault:
    """Seals and opens. `keys` gives the keys of now, first the one that seals; with make=True it makes one where
    there is none. Its repr says nothing."""

    def __init__(self, keys: Callable[..., Sequence[bytes]]) -> None:
        self._keys = keys

    @classmethod
    def of_text(cls, text: str) -> Vault:
        """Of keys in base64, separated by spaces, commas or lines. Raises SetupError."""
        keys = parsed(text, "BROKER_SECRETS__KEY")

        def given(*, make: bool = False) -> Sequence[bytes]:
            return keys

        return cls(given)

    def seal(self, plain: bytes, bond: Sequence[str]) -> bytes:
        """Encrypt for the row that `bond` names. Raises SetupError where there is no key."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - 8 MB, where secrets are

        key = self._keys(make=True)[0]
        nonce = os.urandom(_NONCE)
        head = _VERSION + _name(key) + nonce
        return head + AESGCM(key).encrypt(nonce, plain, _bound(bond))

    def open(self, sealed: bytes, bond: Sequence[str]) -> bytes:
        """What was sealed for this row. Raises SetupError for another row's, a changed one, and an unknown key."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        name, nonce = sealed[1 : 1 + _NAME], sealed[1 + _NAME : _HEAD]
        key = next((one for one in self._keys() if _name(one) == name), None)
        if sealed[:1] != _VERSION or key is None:
            raise SetupError(
                "A credential was encrypted with a key that is not here.",
                hint="Put the key file back that was in use when it was kept, or add the credential again.",
            )
        try:
            return AESGCM(key).decrypt(nonce, sealed[_HEAD:], _bound(bond))
        except InvalidTag:
            raise SetupError(
                "A credential's row is not as the broker wrote it.", hint="Add the credential again."
            ) from None

    def token(self, bond: Sequence[str]) -> str:
        """A word that only who has the keys can make, the same as long as the first key stays. Raises SetupError."""
        return _token(self._keys(make=True)[0], bond)

    def gave(self, token: str, bond: Sequence[str]) -> bool:
        """Whether a word is the token of this bond, made with any of the keys."""
        return token.isascii() and any(hmac.compare_digest(_token(key, bond), token) for key in self._keys())

    def knows(self, sealed: bytes) -> bool:
        """Whether the key is here that it was sealed with."""
        return sealed[1 : 1 + _NAME] in map(_name, self._keys())

    def newest(self, sealed: bytes) -> bool:
        """Whether it was sealed with the key that seals now."""
        keys = self._keys()
        return bool(keys) and sealed[1 : 1 + _NAME] == _name(keys[0])


def parsed(text: str, source: str) -> tuple[bytes, ...]:
    """The keys in a text. Raises SetupError that names the source and repeats nothing of it."""
    words = re.split(r"[\s,]+", re.sub(r"#.*", "", text))
    try:
        keys = tuple(base64.b64decode(word, validate=True) for word in words if word)
    except (binascii.Error, ValueError):
        keys = ()
    if not keys or any(len(key) != KEY_BYTES for key in keys):
        raise SetupError(
            f"{source} does not hold keys: each is 32 bytes in base64.",
            hint='Make one: python3 -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"',
        )
    return keys


def _name(key: bytes) -> bytes:
    """Tells keys apart, and nothing of them."""
    return hashlib.sha256(b"earthcode-broker key name\0" + key).digest()[:_NAME]


def _token(key: bytes, bond: Sequence[str]) -> str:
    return hmac.digest(key, b"earthcode-broker token\0" + _bound(bond), "sha256").hex()


def _bound(bond: Sequence[str]) -> bytes:
    return orjson.dumps(list(bond))
