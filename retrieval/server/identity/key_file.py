"""The file of keys, certificates and tenants: JSON beside the releases, with hashes and never a key.

A key is 256 random bits, so its SHA-256 is enough: nobody can try all keys, and slow hashes are for passwords, which
somebody can. One that is looked up by its hash takes no longer or shorter for what is right about a wrong one.
"""

import contextlib
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from core.durable import read_file, sync
from core.errors import ReleaseError, TandemError
from retrieval.server.identity.access import SCOPES

KEY_FILE = "keys.json"
"""Among the releases, unless another is set."""
PREFIX = "tdm_"
_SECRET_BYTES, _ID_BYTES = 32, 4
_KEY = re.compile(rf"{PREFIX}([0-9a-f]{{8}})_[A-Za-z0-9_-]{{43}}")
_MOST_BYTES, _MOST_ENTRIES, _MOST_CATALOGS = 16 << 20, 10_000, 1_000
_OTHERS_MAY_WRITE = 0o022

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@:-]{0,127}$")]
Catalogs = Annotated[frozenset[Name] | None, Field(max_length=_MOST_CATALOGS)]


class KeyFileError(TandemError):
    """The file of keys cannot be used."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tenant(_Entry):
    """What all credentials of a tenant may do together: its catalogs, None for all, and its limits, 0 for none."""

    catalogs: Catalogs = None
    calls_per_second: float = Field(default=0.0, ge=0, le=1e6, allow_inf_nan=False)
    burst: int = Field(default=0, ge=0, le=10_000_000)
    calls_per_day: int = Field(default=0, ge=0, le=10**12)


class Credential(_Entry):
    """What a key, or the holder of a certificate, may do, and until when."""

    id: Name
    tenant: Name
    scopes: frozenset[str]
    catalogs: Catalogs = None
    priority: Literal["interactive", "batch"] = "interactive"
    created: AwareDatetime
    expires: AwareDatetime | None = None
    revoked: AwareDatetime | None = None

    @field_validator("scopes")
    @classmethod
    def _known(cls, scopes: frozenset[str]) -> frozenset[str]:
        if unknown := sorted(scopes - SCOPES):
            raise ValueError(f"has an unknown scope {unknown[0][:40]!r}; there is: {', '.join(sorted(SCOPES))}")
        return scopes

    def valid(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked is None and (self.expires is None or now < self.expires)


class Key(Credential):
    """A key, by its hash."""

    hash: str = Field(pattern=r"^[0-9a-f]{64}$")


class Certificate(Credential):
    """The name in a client's certificate, which a CA of `tls_client_ca` signed."""

    subject: str = Field(min_length=1, max_length=512)


class KeyFile(_Entry):
    """The whole file."""

    version: Literal[1] = 1
    tenants: dict[Name, Tenant] = Field(default={}, max_length=_MOST_ENTRIES)
    keys: tuple[Key, ...] = Field(default=(), max_length=_MOST_ENTRIES)
    certificates: tuple[Certificate, ...] = Field(default=(), max_length=_MOST_ENTRIES)

    @model_validator(mode="after")
    def _once(self) -> "KeyFile":
        entries: list[Credential] = [*self.keys, *self.certificates]
        for names in ([entry.id for entry in entries], [entry.hash for entry in self.keys]):
            if len(set(names)) < len(names):
                raise ValueError("has an entry twice")
        if missing := sorted({entry.tenant for entry in entries} - set(self.tenants)):
            raise ValueError(f"lacks the tenant {missing[0]!r}, which an entry is of")
        return self


def make_key() -> tuple[str, str]:
    """A new key, and its id, which the key holds and which is no secret."""
    name = secrets.token_hex(_ID_BYTES)
    return f"{PREFIX}{name}_{secrets.token_urlsafe(_SECRET_BYTES)}", name


def key_id(key: str) -> str | None:
    """The id of a key; None for what is none."""
    form = _KEY.fullmatch(key)
    return form[1] if form else None


def hash_key(key: str) -> str:
    """The hash of a key as the file holds it."""
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read_key_file(path: Path) -> KeyFile:
    """The file. Raises KeyFileError where it is damaged or others may write to it, FileNotFoundError where there is
    none."""
    try:
        data = read_file(path.resolve(), _MOST_BYTES)  # orchestrators mount secrets as links
        if path.stat().st_mode & _OTHERS_MAY_WRITE:
            raise KeyFileError(f"{path}, the file of keys, can be changed by others; run `chmod go-w {path}`")
        return KeyFile.model_validate_json(data)
    except FileNotFoundError:
        raise
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        why = str(fault.get("ctx", {}).get("error", fault["msg"]))
        raise KeyFileError(f"{path}, the file of keys, is damaged: {place or 'it'}: {why[:200]}") from None
    except (ReleaseError, RecursionError) as error:
        raise KeyFileError(f"the file of keys cannot be used: {error}") from None
    except OSError as error:
        raise KeyFileError(f"{path}, the file of keys, cannot be read: {error.strerror}") from None


@contextmanager
def changing(path: Path) -> Iterator[list[KeyFile]]:
    """The file, empty where there is none, in a list of one: what stands there when the block ends is written.

    Others wait meanwhile. Raises KeyFileError.
    """
    path = path.resolve()  # a link stays, and leads to what changes
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            kept = [read_key_file(path)]
        except FileNotFoundError:
            kept = [KeyFile()]
        before = kept[0]
        yield kept
        if kept[0] is not before:
            _replace(path, KeyFile.model_validate(kept[0].model_dump()).model_dump_json(indent=2) + "\n")


def now() -> datetime:
    """The time, to the second."""
    return datetime.now(UTC).replace(microsecond=0)


def _replace(path: Path, text: str) -> None:
    """Puts the file in place, readable for others, since the service may be another user, and to be changed by its
    owner alone."""
    scratch = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(path)
    except BaseException:
        with contextlib.suppress(OSError):
            scratch.unlink()
        raise
    sync(path.parent)
