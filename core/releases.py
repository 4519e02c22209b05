"""Releases on disk: content-addressed files, immutable folders, and one pointer per catalog.

    <root>/objects/<sha256>                      every file once
    <root>/catalogs/<catalog>/<release>/         hard links to objects, and manifest.json
    <root>/catalogs/<catalog>/current            the name of the release to serve
    <root>/catalogs/<catalog>/work/              what index jobs keep between runs; serving never reads it

Publishing writes data first and the pointer last, each made durable before the next, so that a crash at any
moment leaves either the old release or the new one in service and never a part of one.
"""

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from core.digest import file_digest
from core.errors import ReleaseError
from core.manifest import MANIFEST_NAME, FileEntry, Manifest

_POINTER = "current"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NO_LINKS = {errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK}


class ReleaseStore:
    """The releases of one folder. Reading needs no lock; publishing takes the catalog's."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def catalogs(self) -> list[str]:
        """Names of the catalogs that have a release in service, sorted."""
        names = (path.parent.name for path in (self.root / "catalogs").glob(f"*/{_POINTER}"))
        return sorted(name for name in names if _NAME.fullmatch(name))

    def folder(self, catalog: str) -> Path:
        """The folder of one catalog. Raises ReleaseError for a name that cannot be a folder."""
        if not _NAME.fullmatch(catalog):
            raise ReleaseError(
                f"catalog name {catalog!r} is not usable: use 1 to 64 letters, digits, dots, dashes and underscores"
            )
        return self.root / "catalogs" / catalog

    def path(self, catalog: str, release: str) -> Path:
        """The folder of one release."""
        return self.folder(catalog) / release

    def current(self, catalog: str) -> str | None:
        """The release that the catalog's pointer names, or None before the first is published."""
        try:
            return (self.folder(catalog) / _POINTER).read_text().strip()
        except FileNotFoundError:
            return None

    def manifests(self, catalog: str) -> list[Manifest]:
        """Manifests of the catalog's complete releases, oldest first."""
        folders = self.folder(catalog).glob(f"r-*/{MANIFEST_NAME}")
        return sorted((self._read(path) for path in folders), key=lambda manifest: manifest.release_id)

    def manifest(self, catalog: str, release: str) -> Manifest:
        """The manifest of one release. Raises ReleaseError when it is missing or unreadable."""
        return self._read(self.path(catalog, release) / MANIFEST_NAME)

    def verify(self, catalog: str, release: str, part: str = "") -> Manifest:
        """The manifest, once every file, or every one whose name begins with `part`, was found whole.

        Raises ReleaseError with the first file that is not.
        """
        manifest = self.manifest(catalog, release)
        if manifest.release_id != release or manifest.catalog != catalog:
            raise ReleaseError(f"release {release}: its manifest is that of {manifest.catalog}/{manifest.release_id}")
        for name, entry in manifest.files.items():
            if not name.startswith(part):
                continue
            path = self.path(catalog, release) / name
            given = f" with --{Path(name).parent}" if name in manifest.model.files else ""  # not taken from here again
            if not path.is_file():
                raise ReleaseError(f"release {release}: {name} is missing; index again{given} or roll back")
            if path.stat().st_size != entry.size or file_digest(path) != entry.sha256:
                raise ReleaseError(
                    f"release {release}: {name} differs from its manifest; index again{given} or roll back"
                )
        return manifest

    def add(self, path: Path) -> FileEntry:
        """Moves a finished file into the objects and tells its content. The file at `path` is gone afterwards."""
        entry = FileEntry(sha256=file_digest(path), size=path.stat().st_size)
        target = self.root / "objects" / entry.sha256
        if target.exists() and file_digest(target) == entry.sha256:  # a damaged object is replaced
            path.unlink()
            return entry
        target.parent.mkdir(parents=True, exist_ok=True)
        _sync(path)
        path.chmod(0o444)
        path.rename(target)
        _sync(target.parent)
        return entry

    def add_copy(self, path: Path) -> FileEntry:
        """Like `add`, but leaves the file where it is."""
        scratch = self.root / "objects" / f".copy-{os.getpid()}-{path.name}"
        scratch.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, scratch)
        return self.add(scratch)

    def named(self, name: str | None) -> str:
        """The catalog of that name, or the only one there is. Raises ReleaseError."""
        names = self.catalogs()
        if name is not None:
            if name not in names:
                there = ", ".join(names) or "nothing published yet"
                raise ReleaseError(f"{self.root} holds no catalog {name!r}; there is: {there}")
            return name
        if not names:
            raise ReleaseError(f"{self.root} holds no release: make one with `tandem index`")
        if len(names) > 1:
            raise ReleaseError(f"{self.root} holds several catalogs, choose one with --catalog: {', '.join(names)}")
        return names[0]

    def publish(self, manifest: Manifest) -> Path:
        """Makes a release of files already added, and points the catalog to it."""
        folder = self.folder(manifest.catalog)
        staging = folder / f".staging-{manifest.release_id}"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        self._link(manifest.files, staging)
        _write(staging / MANIFEST_NAME, manifest.model_dump_json(indent=2) + "\n")
        for path in {staging, *(p for p in staging.rglob("*") if p.is_dir())}:
            _sync(path)
        staging.rename(folder / manifest.release_id)
        _sync(folder)
        self.point(manifest.catalog, manifest.release_id)
        return folder / manifest.release_id

    def point(self, catalog: str, release: str) -> None:
        """Swaps the catalog's pointer to a release that is there, by rename."""
        self.manifest(catalog, release)
        scratch = self.folder(catalog) / f".{_POINTER}-{os.getpid()}"
        _write(scratch, release + "\n")
        scratch.rename(self.folder(catalog) / _POINTER)
        _sync(self.folder(catalog))

    def prune(self, catalog: str, keep: int) -> list[str]:
        """Removes all but the `keep` newest releases and the one in service; tells which went.

        Call it under `lock(catalog, alone=True)`: another job's files may not be in any manifest yet.
        """
        served = self.current(catalog)
        names = [manifest.release_id for manifest in self.manifests(catalog)]
        gone = [name for name in names[: max(0, len(names) - keep)] if name != served]
        for name in gone:
            (self.path(catalog, name) / MANIFEST_NAME).unlink()
        for folder in self.folder(catalog).glob("r-*"):
            if not (folder / MANIFEST_NAME).exists():  # now, or in a pruning that was cut off
                shutil.rmtree(folder)
        self._drop_unused_objects()
        return gone

    @contextmanager
    def lock(self, catalog: str, alone: bool = False) -> Iterator[None]:
        """Held by whoever changes a catalog; with `alone`, nobody changes any other catalog of the folder either.

        Raises ReleaseError at once when another process is in the way.
        """
        folder = self.folder(catalog)
        folder.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as whole, (folder / ".lock").open("w") as one:
            try:
                fcntl.flock(whole, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ReleaseError(
                    f"another job is changing catalog {catalog!r} in {self.root}: wait for it to end"
                ) from None
            for leftover in folder.glob(".staging-*"):
                shutil.rmtree(leftover)
            yield

    def _read(self, path: Path) -> Manifest:
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise ReleaseError(f"there is no release at {path.parent}: `tandem releases` lists what there is") from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the file"
            raise ReleaseError(f"{path} is not a manifest this version reads: {where}: {first['msg']}") from None

    def _link(self, files: Mapping[str, FileEntry], target: Path) -> None:
        for name, entry in files.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            source = self.root / "objects" / entry.sha256
            try:
                os.link(source, path)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                shutil.copyfile(source, path)
                _sync(path)

    def _drop_unused_objects(self) -> None:
        used = {
            entry.sha256
            for path in (self.root / "catalogs").glob(f"*/r-*/{MANIFEST_NAME}")
            for entry in self._read(path).files.values()
        }
        for path in (self.root / "objects").iterdir():
            if not path.name.startswith(".") and path.name not in used:
                path.unlink()


def _write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
