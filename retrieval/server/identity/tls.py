"""TLS of the service: files that are read again when they change, without a connection being ended."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

import grpc

from core.durable import read_file
from core.errors import MissingPackageError, ReleaseError, TandemError

log = logging.getLogger("tandem.identity")

_LOOK_SECONDS = 1.0
_MOST_BYTES = 1 << 20


class TlsError(TandemError):
    """A certificate, its key or the CA of clients cannot be used."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: the certificate with those that lead to its CA, its key, and, if clients need one, their CA."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def state(self) -> tuple[tuple[int, ...], ...]:
        """What changes with the files. Raises OSError."""
        # Followed to their ends: Kubernetes mounts secrets as links, and swaps what those lead to.
        statuses = [path.stat() for path in (self.certificate, self.key, self.client_ca) if path is not None]
        return tuple((status.st_mtime_ns, status.st_size, status.st_ino) for status in statuses)


@dataclass(frozen=True, slots=True)
class _Loaded:
    state: tuple[tuple[int, ...], ...]
    configuration: grpc.ServerCertificateConfiguration
    expires: float


class ServerTls:
    """The service's certificate, as its files are. Looks at them once a second at most, when somebody connects or asks.
    For any thread."""

    def __init__(self, files: TlsFiles, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises TlsError for files that cannot be used, MissingPackageError."""
        self._files = files
        self._clock = clock
        self._lock = Lock()
        self._fault = ""
        self._loaded = self._given = _load(files)
        self._look_at = clock() + _LOOK_SECONDS

    @property
    def expires(self) -> float:
        """When the certificate expires, in seconds since 1970."""
        self._look()
        return self._loaded.expires

    def credentials(self) -> grpc.ServerCredentials:
        """For one server. Where there is a CA of clients, every client needs a certificate."""
        fetch: Any = self._fetch  # which may return None, as gRPC says and its types do not
        return grpc.dynamic_ssl_server_credentials(
            self._loaded.configuration, fetch, require_client_authentication=self._files.client_ca is not None
        )

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by gRPC for each new connection: the files, where they changed since the last time."""
        self._look()
        loaded = self._loaded
        if loaded is self._given:
            return None
        self._given = loaded
        return loaded.configuration

    def _look(self) -> None:
        """Takes files that changed and fit together; a certificate is written before or after its key."""
        if self._clock() < self._look_at or not self._lock.acquire(blocking=False):
            return
        try:
            self._look_at = self._clock() + _LOOK_SECONDS
            if self._files.state() != self._loaded.state:
                self._loaded = _load(self._files)
                self._fault = ""
                log.info("%s: a certificate until %s", self._files.certificate, _day(self._loaded.expires))
        except (OSError, TlsError) as error:
            fault = str(error)
            if fault != self._fault:
                log.error("the certificate until %s stays: %s", _day(self._loaded.expires), fault)
            self._fault = fault
        finally:
            self._lock.release()


def _load(files: TlsFiles) -> _Loaded:
    """The files, once they fit together. Raises TlsError."""
    try:
        state = files.state()
        chain, key = _read(files.certificate, "certificate"), _read(files.key, "key")
        roots = None if files.client_ca is None else _read(files.client_ca, "client CA")
    except OSError as error:
        raise TlsError(f"{error.filename}, of TLS, cannot be read: {error.strerror}") from None
    expires = _check(files, chain, key, roots)
    return _Loaded(state, grpc.ssl_server_certificate_configuration([(key, chain)], roots), expires)


def _check(files: TlsFiles, chain: bytes, key: bytes, roots: bytes | None) -> float:
    """When the first certificate that expires does. Raises TlsError where gRPC would refuse the files, at once or once
    somebody connects."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ModuleNotFoundError:
        raise MissingPackageError("TLS", "identity") from None
    try:
        certificates = x509.load_pem_x509_certificates(chain)
    except ValueError:
        raise TlsError(f"{files.certificate} is no certificate as PEM") from None
    try:
        private = load_pem_private_key(key, None)
    except TypeError:
        raise TlsError(
            f"{files.key} is encrypted: give a key without a password that its owner alone may read"
        ) from None
    except Exception:  # ValueError, or that an algorithm is not supported
        raise TlsError(f"{files.key} is no private key as PEM") from None
    if private.public_key() != certificates[0].public_key():
        raise TlsError(f"{files.key} is not the key of the first certificate in {files.certificate}")
    try:
        if roots is not None:
            x509.load_pem_x509_certificates(roots)
    except ValueError:
        raise TlsError(f"{files.client_ca} is no certificate of a CA as PEM") from None
    now = datetime.now(UTC)
    for one in certificates:
        if not one.not_valid_before_utc <= now < one.not_valid_after_utc:
            span = f"{one.not_valid_before_utc:%Y-%m-%d} to {one.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
            raise TlsError(f"{files.certificate}: a certificate is valid from {span} alone; renew it")
    return min(one.not_valid_after_utc for one in certificates).timestamp()


def _read(path: Path, name: str) -> bytes:
    try:
        return read_file(path.resolve(), _MOST_BYTES)
    except ReleaseError as error:
        raise TlsError(f"the {name} of TLS cannot be used: {error}") from None


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")
