"""Signatures of releases: Ed25519 over the manifest, which has the SHA-256 of every file.

`manifest.sig` holds the 64 bytes of the signature, as OpenSSL makes and checks them:

    openssl genpkey -algorithm ed25519 -out sign.pem && openssl pkey -in sign.pem -pubout -out verify.pem
    openssl pkeyutl -verify -pubin -inkey verify.pem -rawin -in manifest.json -sigfile manifest.sig
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from core.durable import read_file
from core.errors import MissingPackageError, ReleaseError, TandemError

if TYPE_CHECKING:  # most commands neither sign nor check
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

SIGNATURE_NAME = "manifest.sig"
_MOST_BYTES = 64 << 10
_PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.S)


class SigningKey:
    """The private key of who publishes."""

    def __init__(self, path: Path) -> None:
        """Reads a PEM file. Raises TandemError for one that holds no Ed25519 key, or one behind a password."""
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        except ModuleNotFoundError:
            raise MissingPackageError("signing releases", "sign") from None
        try:
            key = load_pem_private_key(_read(path), None)
        except (ValueError, TypeError):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            raise TandemError(
                f"{path}: holds no Ed25519 key without a password; make one with `openssl genpkey -algorithm ed25519`"
            )
        self._key: Ed25519PrivateKey = key

    def sign(self, manifest: bytes) -> bytes:
        """The signature of a manifest's bytes."""
        return self._key.sign(manifest)


class VerifyingKeys:
    """The public keys of those whose releases may be served. The file is read anew for each, so that keys rotate."""

    def __init__(self, path: Path) -> None:
        """Raises TandemError for a file that holds no Ed25519 public key in PEM, or anything else besides."""
        self._path = path
        self._read()

    def check(self, folder: Path, manifest: bytes) -> None:
        """Raises ReleaseError unless the manifest of the release in a folder is signed by one of the keys."""
        from cryptography.exceptions import InvalidSignature

        release = folder.name
        try:
            signature = read_file(folder / SIGNATURE_NAME, _MOST_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            raise ReleaseError(f"release {release}: is not signed; sign it with `tandem sign`, or roll back") from None
        except OSError as error:
            raise ReleaseError(f"release {release}: {SIGNATURE_NAME} cannot be read: {error.strerror}") from None
        try:
            keys = self._read()
        except TandemError as error:
            raise ReleaseError(f"release {release}: {error}") from None
        for key in keys:
            try:
                key.verify(signature, manifest)
                return
            except InvalidSignature:
                continue
        raise ReleaseError(
            f"release {release}: is signed by no key in {self._path}; find out who made it, or roll back"
        )

    def _read(self) -> "list[Ed25519PublicKey]":
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
            from cryptography.hazmat.primitives.serialization import load_pem_public_key
        except ModuleNotFoundError:
            raise MissingPackageError("checking the signatures of releases", "sign") from None
        try:
            keys = [load_pem_public_key(block) for block in _PUBLIC.findall(_read(self._path))]
        except ValueError:
            keys = []
        fit = [key for key in keys if isinstance(key, Ed25519PublicKey)]
        if not fit or len(fit) < len(keys):
            raise TandemError(f"{self._path}: holds no Ed25519 public keys; make them with `openssl pkey -pubout`")
        return fit


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TandemError(f"{path}, a key for releases, cannot be read: {error.strerror}") from None
