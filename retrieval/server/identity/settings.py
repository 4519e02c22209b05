"""What the settings of the service say of identity, opened."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from retrieval.server.gate import Gate
from retrieval.server.identity.identity_gate import IdentityGate
from retrieval.server.identity.key_sets import KeySets
from retrieval.server.identity.key_store import KeyStore
from retrieval.server.identity.limits import TenantLimits
from retrieval.server.identity.tls import ServerTls, TlsFiles
from retrieval.server.settings import ServeSettings


@dataclass(frozen=True, slots=True)
class Identity:
    """The gate, and the certificate, None without TLS."""

    gate: Gate
    tls: ServerTls | None


@contextmanager
def open_identity(settings: ServeSettings) -> Iterator[Identity]:
    """Identity while the block runs. Raises TandemError for files that cannot be used."""
    with ExitStack() as stack:
        tls = None
        if settings.tls_certificate is not None and settings.tls_key is not None:
            tls = ServerTls(TlsFiles(settings.tls_certificate, settings.tls_key, settings.tls_client_ca))
        tokens = None
        if settings.jwt_jwks:
            from retrieval.server.identity.tokens import Tokens  # PyJWT is not installed everywhere

            key_sets = KeySets(settings.jwt_jwks)
            stack.callback(key_sets.close)
            tokens = Tokens(key_sets, settings.jwt_issuer, settings.jwt_audience, settings.jwt_skew_seconds)
        keys = KeyStore(settings.key_file, settings.keys is not None)
        limits = TenantLimits(1 / settings.processes)
        yield Identity(IdentityGate(keys, tokens, settings.tls_client_ca is not None, limits), tls)
