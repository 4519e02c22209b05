"""Whether the service is safe as it is set: an address that others reach needs TLS, and a way to tell who calls."""

from urllib.parse import urlsplit

from core.address import is_local, is_local_host
from core.errors import TandemError
from retrieval.server.settings import ServeSettings


def check_exposure(settings: ServeSettings) -> None:
    """Raises TandemError for settings of identity that do not fit together, and for an address that other machines
    reach without TLS, or without keys, tokens or certificates of clients, unless `insecure` allows it."""
    _check_parts(settings)
    if settings.insecure or is_local(settings.address):
        return
    missing = []
    if settings.tls_certificate is None:
        missing.append("set tls_certificate and tls_key")
    if not (settings.key_file.is_file() or settings.jwt_jwks or settings.tls_client_ca):
        missing.append(f"make a key with `tandem keys add --keys {settings.key_file}`")
    if missing:
        raise TandemError(
            f"{settings.address} can be reached from other machines: {' and '.join(missing)}, or allow everybody "
            "everything with --insecure"
        )


def _check_parts(settings: ServeSettings) -> None:
    if (settings.tls_certificate is None) != (settings.tls_key is None):
        raise TandemError("settings tls_certificate and tls_key belong together; set both")
    if settings.tls_client_ca is not None and settings.tls_certificate is None:
        raise TandemError("setting tls_client_ca needs tls_certificate and tls_key")
    parts = (settings.jwt_jwks, settings.jwt_issuer, settings.jwt_audience)
    if any(parts) and not all(parts):
        raise TandemError("settings jwt_jwks, jwt_issuer and jwt_audience belong together; set all")
    if "://" in settings.jwt_jwks and not _fetchable(settings.jwt_jwks):
        raise TandemError("setting jwt_jwks: keys are fetched from https:// alone, or from http:// of this machine")


def _fetchable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and is_local_host(host)))
