"""Only what a known key signed is read, where keys are given."""

import subprocess
from pathlib import Path

import pytest
from builders import publish
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core.errors import ReleaseError, TandemError
from core.manifest import MANIFEST_NAME, Manifest
from core.releases import ReleaseStore
from core.signatures import SIGNATURE_NAME, SigningKey, VerifyingKeys

FILES = {"products.arrow": b"columns"}
PEM, PUBLIC = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo


def write_keys(folder: Path, name: str) -> tuple[Path, Path]:
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(PEM, PUBLIC))
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path, "ours")


@pytest.fixture
def signed(keys: tuple[Path, Path], tmp_path: Path) -> tuple[ReleaseStore, Manifest]:
    """A store that reads what we signed, and such a release."""
    made = publish(ReleaseStore(tmp_path / "releases", SigningKey(keys[0])), tmp_path / "scratch", FILES)
    return ReleaseStore(tmp_path / "releases", verifying_keys=VerifyingKeys(keys[1])), made


def test_what_is_signed_is_read_and_openssl_agrees(
    signed: tuple[ReleaseStore, Manifest], keys: tuple[Path, Path]
) -> None:
    store, made = signed
    assert store.verify("shop", made.release_id) == made
    folder = store.path("shop", made.release_id)
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", keys[1], "-rawin", "-in", folder / MANIFEST_NAME]
    done = subprocess.run([*map(str, command), "-sigfile", folder / SIGNATURE_NAME], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("what", ["unsigned", "another's", "flipped", "cut", "empty", "of another release", "a link"])
def test_what_is_not_signed_by_a_known_key_is_refused_before_it_is_parsed(
    signed: tuple[ReleaseStore, Manifest], tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, made = signed
    path = store.path("shop", made.release_id) / SIGNATURE_NAME
    data = path.read_bytes()
    assert len(data) == 64
    path.unlink()
    manifest = (path.parent / MANIFEST_NAME).read_bytes()
    if what == "another's":
        path.write_bytes(SigningKey(write_keys(tmp_path, "theirs")[0]).sign(manifest))
    elif what == "of another release":
        path.write_bytes(SigningKey(tmp_path / "ours.pem").sign(manifest.replace(b"shop", b"shep")))
    elif what == "a link":
        (tmp_path / "elsewhere").write_bytes(data)
        path.symlink_to(tmp_path / "elsewhere")
    elif what != "unsigned":
        path.write_bytes({"flipped": bytes([data[0] ^ 1]) + data[1:], "cut": data[:-1], "empty": b""}[what])
    monkeypatch.setattr(Manifest, "model_validate_json", None)
    with pytest.raises(ReleaseError, match=r"is not signed|is signed by no key|is a link") as error:
        store.verify("shop", made.release_id)
    assert "\n" not in str(error.value)


def test_a_manifest_that_was_made_to_fit_all_digests_is_refused(
    signed: tuple[ReleaseStore, Manifest], tmp_path: Path
) -> None:
    """Whoever may write the folder can make all digests fit, and no signature."""
    store, made = signed
    forged = publish(ReleaseStore(tmp_path / "releases"), tmp_path / "scratch", {"products.arrow": b"evil"}, 5)
    (store.path("shop", forged.release_id) / SIGNATURE_NAME).write_bytes(
        (store.path("shop", made.release_id) / SIGNATURE_NAME).read_bytes()
    )
    with pytest.raises(ReleaseError, match="is signed by no key"):
        store.verify("shop", forged.release_id)
    assert store.verify("shop", store.earlier("shop")[0]) == made


def test_a_release_that_is_there_is_signed_and_keys_rotate(keys: tuple[Path, Path], tmp_path: Path) -> None:
    plain = ReleaseStore(tmp_path / "releases")
    made = publish(plain, tmp_path / "scratch", FILES)
    store = ReleaseStore(tmp_path / "releases", verifying_keys=VerifyingKeys(keys[1]))
    plain.sign("shop", made.release_id, SigningKey(keys[0]))
    assert store.verify("shop", made.release_id) == made
    private, public = write_keys(tmp_path, "new")
    plain.sign("shop", made.release_id, SigningKey(private))
    with pytest.raises(ReleaseError, match="is signed by no key"):
        store.verify("shop", made.release_id)
    keys[1].write_bytes(keys[1].read_bytes() + public.read_bytes())
    assert store.verify("shop", made.release_id) == made
    keys[1].unlink()
    with pytest.raises(ReleaseError, match="cannot be read"):
        store.verify("shop", made.release_id)
    assert [entry.action for entry in plain.audit.check()] == ["publish", "sign", "sign"]


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nAA\n-----END PUBLIC KEY-----"])
def test_a_file_without_a_fit_key_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    for kind in (SigningKey, VerifyingKeys):
        with pytest.raises(TandemError, match="holds no Ed25519"):
            kind(path)
    with pytest.raises(TandemError, match="cannot be read"):
        SigningKey(tmp_path / "missing")


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    path = tmp_path / "ec"
    path.write_bytes(key.public_key().public_bytes(PEM, PUBLIC))
    with pytest.raises(TandemError, match="holds no Ed25519"):
        VerifyingKeys(path)
