"""Certificates, keys and tokens for tests: a CA, what it signs, an issuer of tokens, and a file of keys."""

import base64
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from core.audit import AuditLog
from lifecycle.keys import Keys

ISSUER, AUDIENCE = "https://issuer.example", "tandem"
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_PEM, _NO_PASSWORD = serialization.Encoding.PEM, serialization.NoEncryption()


def key_pem(key: Any, encryption: Any = _NO_PASSWORD) -> bytes:
    pem: bytes = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, encryption)
    return pem


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return pem


class Authority:
    """A CA that signs certificates."""

    def __init__(self, name: str = "test ca") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.pem = self._sign(self._name, self._key, [], timedelta(days=1), timedelta(0), ca=True)

    def issue(
        self, name: str, lasts: timedelta = timedelta(hours=1), since: timedelta = timedelta(minutes=-1)
    ) -> tuple[bytes, bytes]:
        """A certificate of this DNS name, and its key, as PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names: list[x509.GeneralName] = [x509.DNSName(name)]
        return self._sign(subject, key, names, lasts, since), key_pem(key)

    def _sign(
        self, subject: x509.Name, key: Any, names: list[Any], lasts: timedelta, since: timedelta, ca: bool = False
    ) -> bytes:
        start = datetime.now(UTC) + since - timedelta(seconds=5)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + lasts)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(_PEM)


class Issuer:
    """Signs tokens. `jwks` is the set of its public keys."""

    def __init__(self, algorithm: str = "ES256", key_id: str = "one", bits: int = 2048) -> None:
        self.algorithm, self.key_id = algorithm, key_id
        makers: dict[str, Callable[[], PrivateKey]] = {
            "ES": lambda: ec.generate_private_key(ec.SECP256R1() if algorithm == "ES256" else ec.SECP384R1()),
            "Ed": ed25519.Ed25519PrivateKey.generate,
        }
        self.key: Any = makers.get(algorithm[:2], lambda: rsa.generate_private_key(65537, bits))()

    @property
    def jwk(self) -> dict[str, Any]:
        kind = jwt.get_algorithm_by_name(self.algorithm)
        made = kind.to_jwk(self.key.public_key(), as_dict=True)
        return {**made, "kid": self.key_id, "alg": self.algorithm, "use": "sig"}

    def jwks(self, *others: "Issuer") -> bytes:
        return json.dumps({"keys": [one.jwk for one in (self, *others)]}).encode()

    def token(self, headers: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token of these claims beside the usual ones; None leaves one out."""
        return jwt.encode(claims_of(**claims), self.key, self.algorithm, {"kid": self.key_id} | (headers or {}))


def claims_of(**claims: Any) -> dict[str, Any]:
    moment = int(time.time())
    usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": moment, "nbf": moment, "exp": moment + 300}
    return {name: value for name, value in (usual | claims).items() if value is not None}


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """A token put together by hand."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


@cache
def shared_issuer(algorithm: str = "ES256", key_id: str = "one") -> Issuer:
    """One for all tests: making RSA keys takes a while."""
    return Issuer(algorithm, key_id)


def keys_in(folder: Path) -> Keys:
    """The keys of the file in a folder of releases."""
    folder.mkdir(parents=True, exist_ok=True)
    return Keys(folder / "keys.json", AuditLog(folder / "audit.jsonl"))
