"""Keyed hashes of shoppers' ids: without the key, nobody can tell whose profile is whose by trying ids."""

import contextlib
import hmac
import os
import secrets
import stat
from hashlib import sha256
from pathlib import Path

from core.durable import sync
from retrieval.profiles.protocol import ProfileError

KEY_FILE = "key"
LEAST_BYTES = 16
_MADE_BYTES, _MOST_BYTES = 32, 4096


class ShopperKey:
    """A secret key. It is never printed."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        """Raises ProfileError for a key that is too short to be secret."""
        if len(key) < LEAST_BYTES:
            raise ProfileError(f"the key of profiles has {len(key)} bytes; give at least {LEAST_BYTES}")
        self._key = key

    def hash(self, user_id: str) -> bytes:
        """The keyed hash of a shopper's id, 32 bytes (HMAC-SHA256)."""
        return hmac.digest(self._key, user_id.encode("utf-8", "surrogatepass"), sha256)

    def __repr__(self) -> str:
        return "ShopperKey()"


def read_key(path: Path) -> ShopperKey:
    """Reads the key in a file. Raises ProfileError where there is none, or where others than its owner may read it."""
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ProfileError(f"{path}, the key of profiles, can be read by others; run `chmod 600 {path}`")
            return ShopperKey(file.read(_MOST_BYTES).strip())
    except FileNotFoundError:
        raise ProfileError(f"{path}, the key of profiles, is not there; copy it from where it was made") from None
    except OSError as error:
        raise ProfileError(f"{path}, the key of profiles, cannot be read: {error.strerror}") from None


def read_or_make_key(path: Path) -> ShopperKey:
    """Reads the key in a file, or makes one where there is none, for its owner alone. Of several processes that make
    one at once, all get the same."""
    if not path.exists():
        try:
            _make(path)
        except OSError as error:
            raise ProfileError(f"{path}, the key of profiles, cannot be made: {error.strerror}") from None
    return read_key(path)


def _make(path: Path) -> None:
    """The file is there with the whole key, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_hex(_MADE_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(scratch, path)
    finally:
        scratch.unlink()
    sync(path.parent)
