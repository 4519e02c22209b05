"""One release's folder: its manifest and its files, written once, and checked before use."""

import contextlib
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from core.digest import bytes_digest, file_digest
from core.durable import make_folder, read_file, sync, write_bytes, write_text
from core.errors import ReleaseError
from core.formats import MANIFEST
from core.manifest import MANIFEST_NAME, Manifest
from core.objects import Objects
from core.signatures import SIGNATURE_NAME, SigningKey, VerifyingKeys

DIGEST_NAME = "manifest.sha256"
_MOST_MANIFEST, _MOST_DIGEST = 64 << 20, 1 << 10
_DATA = (".arrow", ".npy", ".faiss")
_HEX = re.compile(r"[0-9a-f]{64}")

Digests = dict[tuple[int, int], str]
"""SHA-256 by device and inode, of files that were read once already."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release that is there: its manifest, or why that cannot be used."""

    name: str
    manifest: Manifest | None
    damage: str = ""
    sequence: int = 0

    @property
    def order(self) -> tuple[int, str]:
        """Rises with the order of publishing; what earlier versions published comes first, by its name.

        So does a damaged release whose number the pointer does not hold.
        """
        return self.sequence, self.name


def write_release(manifest: Manifest, objects: Objects, folder: Path, key: SigningKey | None = None) -> None:
    """Fills a new folder: files by hard link, the manifest, its digest as `sha256sum -c` reads it, and with a key its
    signature. All durable."""
    make_folder(folder.parent)
    folder.mkdir()
    for name, entry in manifest.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        objects.link(entry, path)
    text = manifest.model_dump_json(indent=2) + "\n"
    write_text(folder / DIGEST_NAME, _digest_line(bytes_digest(text.encode())))
    if key is not None:
        write_bytes(folder / SIGNATURE_NAME, key.sign(text.encode()))
    write_text(folder / MANIFEST_NAME, text)
    for path in {folder, *(inner for inner in folder.rglob("*") if inner.is_dir())}:
        sync(path)


def read_manifest(folder: Path, expected: str | None, keys: VerifyingKeys | None = None) -> tuple[Manifest, str]:
    """The manifest of the release in a folder, and the SHA-256 of its file, which is checked before it is parsed.

    `expected` is that digest, where the pointer holds it, else the one in the digest file; releases of versions
    that wrote neither are not checked. With `keys` one of them has to have signed it. Raises ReleaseError when the
    manifest is missing, damaged, signed by none of them, or unreadable.
    """
    release, catalog = folder.name, folder.parent.name
    path = folder / MANIFEST_NAME
    if folder.is_symlink():
        raise ReleaseError(f"release {release}: its folder is a link; put the folder itself there, or index again")
    try:
        data = read_file(path, _MOST_MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        if folder.is_dir():
            raise _unusable(release, f"{MANIFEST_NAME} is missing") from None
        raise no_release(folder) from None
    except OSError as error:
        raise _unusable(release, f"{MANIFEST_NAME} cannot be read: {error.strerror or error}") from None
    digest = bytes_digest(data)
    expected = expected or _digest_beside(folder)
    if expected and digest != expected:
        raise _unusable(release, f"{MANIFEST_NAME} differs from its digest")
    if keys is not None:
        keys.check(folder, data)
    manifest = _parsed(data, path)
    if manifest.release_id != release or manifest.catalog != catalog:
        raise ReleaseError(f"release {release}: its manifest is that of {manifest.catalog}/{manifest.release_id}")
    if manifest.sequence and not expected:
        raise _unusable(release, f"{DIGEST_NAME} is missing or damaged")
    return manifest, digest


def check_sizes(folder: Path, manifest: Manifest, part: str = "") -> None:
    """Raises ReleaseError with the first file whose name begins with `part` and that is missing or has another size.

    Reads no contents."""
    for name, entry in manifest.files.items():
        if not name.startswith(part):
            continue
        size = _plain_size(folder, name)
        if size is None:
            raise _unusable(manifest, f"{name} is missing, or no plain file", name)
        if size != entry.size:
            raise _unusable(manifest, f"{name} differs from its manifest", name)


def check_files(folder: Path, manifest: Manifest, part: str = "", known: Digests | None = None) -> None:
    """Reads every file, or every one whose name begins with `part`. Raises ReleaseError with the first at fault."""
    check_sizes(folder, manifest, part)
    _check_beside(folder, manifest)
    for name, entry in manifest.files.items():
        if name.startswith(part) and _digest(folder / name, known) != entry.sha256:
            raise _unusable(manifest, f"{name} differs from its manifest", name)
    for name in _unlisted(folder, manifest):
        if name.startswith(part):
            raise _unusable(manifest, f"{name} is not in its manifest; take it away")


def _check_beside(folder: Path, manifest: Manifest) -> None:
    """The digest file has to be as it was written; it is not needed where the pointer knows the digest."""
    expected = _digest_line(file_digest(folder / MANIFEST_NAME)).encode()
    try:
        beside = read_file(folder / DIGEST_NAME, _MOST_DIGEST)
    except FileNotFoundError:
        return
    except (OSError, ReleaseError):
        beside = b""
    if beside != expected:
        raise _unusable(manifest, f"{DIGEST_NAME} is damaged")


def _digest_line(digest: str) -> str:
    """As `sha256sum -c` reads it."""
    return f"{digest}  {MANIFEST_NAME}\n"


def _plain_size(folder: Path, name: str) -> int | None:
    """Bytes of a plain file of a release, reached through no link; None where there is none."""
    path = folder
    try:
        for step in Path(name).parts:
            path = path / step
            if path.is_symlink():
                return None
        status = path.stat()
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def no_release(folder: Path) -> ReleaseError:
    """The error of a release that is not there."""
    return ReleaseError(f"there is no release at {folder}: `tandem releases` lists what there is")


def _unusable(release: str | Manifest, what: str, name: str = "") -> ReleaseError:
    """`name` is that of the file at fault. Models in it would not be taken from there again."""
    hint = ""
    if isinstance(release, Manifest):
        hint = f" with --{Path(name).parts[0]}" if name in release.model.files else ""
        release = release.release_id
    return ReleaseError(f"release {release}: {what}; index again{hint} or roll back")


def _unlisted(folder: Path, manifest: Manifest) -> list[str]:
    """Unlisted files that would be loaded: all in the folders of models and words, but hidden ones, and data."""
    inner = (path for path in folder.glob("*/**/*") if not path.is_dir() and not path.name.startswith("."))
    paths = (*inner, *(path for path in folder.iterdir() if path.suffix in _DATA))
    return sorted({path.relative_to(folder).as_posix() for path in paths} - manifest.files.keys())


def _digest_beside(folder: Path) -> str | None:
    with contextlib.suppress(OSError, ReleaseError):
        words = read_file(folder / DIGEST_NAME, _MOST_DIGEST).decode("ascii", "replace").split()
        return words[0] if words and _HEX.fullmatch(words[0]) else None
    return None


def _parsed(data: bytes, path: Path) -> Manifest:
    try:
        return Manifest.model_validate_json(data)
    except ValidationError as error:
        if problem := MANIFEST.problem_of(data, "run `tandem index`"):
            raise ReleaseError(f"{path} is not a manifest this version reads: {problem}") from None
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ReleaseError(f"{path} is not a manifest this version reads: {where}: {first['msg']}") from None


def _digest(path: Path, known: Digests | None) -> str:
    if known is None:
        return file_digest(path)
    status = path.stat()
    inode = status.st_dev, status.st_ino
    if inode not in known:
        known[inode] = file_digest(path)
    return known[inode]
