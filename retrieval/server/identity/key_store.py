"""The file of keys as the service uses it: read again when it changes, and the last good one kept."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from threading import Lock

from retrieval.server.caller import Caller, Priority
from retrieval.server.identity.key_file import (
    Certificate,
    Credential,
    Key,
    KeyFile,
    KeyFileError,
    Tenant,
    read_key_file,
)

log = logging.getLogger("tandem.identity")

_LOOK_SECONDS = 1.0
_FOREVER = float("inf")
NO_TENANT = Tenant()


@dataclass(frozen=True, slots=True)
class Keys:
    """What one version of the file says. `keys` are by the bytes of their hash, `certificates` by their subject."""

    keys: dict[bytes, Caller] = field(default_factory=dict)
    certificates: dict[str, Caller] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    _names: dict[str, Caller] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._names.update({one.name: one for one in (*self.keys.values(), *self.certificates.values())})

    def key(self, text: bytes, now: float) -> Caller | None:
        """Who has this key; None for nobody, at this time."""
        return unexpired(self.keys.get(sha256(text).digest()), now)

    def certificate(self, subject: str, now: float) -> Caller | None:
        """Who has a certificate of this name; None for nobody, at this time."""
        return unexpired(self.certificates.get(subject), now)

    def stays(self, caller: Caller, now: float) -> bool:
        """Whether a caller that came in may still do what it could then."""
        if caller.listed:
            return unexpired(self._names.get(caller.name), now) == caller
        if not self.tenants or not caller.name:
            return now < caller.until
        tenant = self.tenants.get(caller.tenant)
        same = tenant is not None and narrowed(caller.catalogs, tenant.catalogs) == caller.catalogs
        return same and now < caller.until


def read_keys(content: KeyFile) -> Keys:
    """The file for looking up. Revoked entries are left out."""
    keys = {bytes.fromhex(entry.hash): _caller(entry, content) for entry in content.keys if entry.revoked is None}
    certificates = {entry.subject: _caller(entry, content) for entry in content.certificates if entry.revoked is None}
    return Keys(keys, certificates, dict(content.tenants))


def unexpired(caller: Caller | None, now: float) -> Caller | None:
    """The caller, unless its credential has expired at this time."""
    return caller if caller is not None and now < caller.until else None


def narrowed(catalogs: frozenset[str] | None, of_tenant: frozenset[str] | None) -> frozenset[str] | None:
    """The catalogs that both allow; None where both allow all."""
    if catalogs is None or of_tenant is None:
        return of_tenant if catalogs is None else catalogs
    return catalogs & of_tenant


class KeyStore:
    """Looks at the file once a second at most, when its keys are read. For any thread."""

    def __init__(self, path: Path, required: bool, clock: Callable[[], float] = time.monotonic) -> None:
        """Where `required` the file has to be there. Raises KeyFileError for one that cannot be used."""
        self._path = path
        self._clock = clock
        self._lock = Lock()
        self._seen: tuple[int, ...] | None = None
        self._fault = ""
        self._keys: Keys | None = None
        self._look_at = clock() + _LOOK_SECONDS
        try:
            self._seen = _state(path)
            self._keys = read_keys(read_key_file(path))
        except FileNotFoundError:
            if required:
                raise KeyFileError(
                    f"{path}, the file of keys, is not there: make a key with `tandem keys add`"
                ) from None
        except OSError as error:
            raise KeyFileError(f"{path}, the file of keys, cannot be read: {error.strerror}") from None

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def current(self) -> Keys | None:
        """What the file says; None where there was never one."""
        if self._clock() >= self._look_at:
            self._look()
        return self._keys

    def _look(self) -> None:
        if not self._lock.acquire(blocking=False):  # another thread looks
            return
        try:
            self._look_at = self._clock() + _LOOK_SECONDS
            state = _state(self._path)
            if state != self._seen:
                keys = read_keys(read_key_file(self._path))
                self._seen, self._keys, self._fault = state, keys, ""
                log.info("%s: %d keys, %d certificates", self._path, len(keys.keys), len(keys.certificates))
        except (OSError, KeyFileError) as error:
            self._note(error)
        finally:
            self._lock.release()

    def _note(self, error: Exception) -> None:
        """Logs once why the last good file stays. One that was never there is no fault."""
        fault = f"{self._path}: it is gone" if isinstance(error, FileNotFoundError) else str(error)
        if fault != self._fault and not (isinstance(error, FileNotFoundError) and self._keys is None):
            log.error("the keys read last stay in force: %s", fault)
        self._fault = fault


def _state(path: Path) -> tuple[int, ...]:
    """What changes with the file. Raises FileNotFoundError."""
    status = path.stat()
    return (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)


def _caller(entry: Key | Certificate, content: KeyFile) -> Caller:
    catalogs = narrowed(entry.catalogs, content.tenants[entry.tenant].catalogs)
    priority = Priority.BATCH if entry.priority == "batch" else Priority.INTERACTIVE
    until = _FOREVER if entry.expires is None else _seconds(entry.expires)
    return Caller(_name(entry), entry.tenant, entry.scopes, catalogs, priority, until, listed=True)


def _name(entry: Credential) -> str:
    """How logs name it: no secret."""
    return f"{entry.tenant}/{entry.id}"


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
