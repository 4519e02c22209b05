"""Releases on disk: content-addressed files, immutable folders, and one pointer per catalog.

    <root>/objects/<sha256>                      every file once
    <root>/catalogs/<catalog>/<release>/         hard links to objects, manifest.json and its SHA-256
    <root>/catalogs/<catalog>/current            the release to serve, and those served before it
    <root>/catalogs/<catalog>/work/              what index jobs keep between runs; serving never reads it
    <root>/audit.jsonl                           who published, rolled back, and so on

Publishing writes data first and the pointer last, each made durable before the next, so that a crash at any
moment leaves either the old release or the new one in service and never a part of one.
"""

import contextlib
import fcntl
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.audit import AUDIT_LOG, AuditLog
from core.digest import bytes_digest
from core.durable import FAILURES, make_folder, remove, replace_bytes, sync
from core.errors import ReleaseError
from core.manifest import MANIFEST_NAME, FileEntry, Manifest
from core.objects import Objects
from core.pointer import RELEASE_NAME, PointerContent, read_pointer, step, write_pointer
from core.release import Digests, Release, check_files, check_sizes, no_release, read_manifest, write_release
from core.signatures import SIGNATURE_NAME, SigningKey, VerifyingKeys
from core.strings import quoted

log = logging.getLogger("tandem.releases")

_POINTER = "current"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_STAGING, _GONE = ".staging-", ".gone-"


class ReleaseStore:
    """The releases of one folder. Reading needs no lock; publishing takes the catalog's."""

    def __init__(
        self, root: Path, signing_key: SigningKey | None = None, verifying_keys: VerifyingKeys | None = None
    ) -> None:
        """What is published is signed by the signing key; with verifying keys only what one of them signed is read."""
        self.root = root
        self._signing_key = signing_key
        self._keys = verifying_keys
        self.audit = AuditLog(root / AUDIT_LOG)
        self._objects = Objects(root / "objects")

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
        """The folder of one release. Raises ReleaseError for a name that no release has."""
        if not RELEASE_NAME.fullmatch(release):
            raise no_release(self.folder(catalog) / release)
        return self.folder(catalog) / release

    def current(self, catalog: str) -> str | None:
        """The release that the catalog's pointer names, or None before the first is published.

        Raises ReleaseError for a pointer that is damaged.
        """
        pointed = read_pointer(self.folder(catalog) / _POINTER)
        return pointed[0].release if pointed else None

    def earlier(self, catalog: str) -> list[str]:
        """What was served before the release in service and is still there, newest first: where a rollback leads.

        A release that was rolled back from is not among them. Of a damaged pointer, all releases.
        """
        try:
            names = [entry.release for entry in self._trail(catalog)[1:]]
            return [name for name in names if self.path(catalog, name).is_dir()]
        except ReleaseError:
            return [manifest.release_id for manifest in reversed(self.manifests(catalog))]

    def in_service(self, catalog: str) -> Manifest | None:
        """The manifest of the release in service, or, where it is damaged, of the first before it that is not.

        None before the first is published. Raises ReleaseError where none can be read.
        """
        try:
            current = self.current(catalog)
            return self.manifest(catalog, current) if current else None
        except ReleaseError as error:
            for name in self.earlier(catalog):
                with contextlib.suppress(ReleaseError):
                    manifest = self.manifest(catalog, name)
                    log.warning("%s; release %s, which was before, stands in for it", error, name)
                    return manifest
            raise

    def releases(self, catalog: str) -> list[Release]:
        """The catalog's releases in the order of their publishing, damaged ones too. Files are not looked into."""
        folders = self.folder(catalog).glob("r-*")
        numbers = {entry.release: entry.sequence for entry in self._pointed(catalog)}
        listed = (self._listed(folder, numbers.get(folder.name, 0)) for folder in folders)
        return sorted(listed, key=lambda release: release.order)

    def listing(self, catalog: str) -> list[Release]:
        """The same, and files that are missing or have another size make a release damaged too."""
        return [self._sized(catalog, release) for release in self.releases(catalog)]

    def manifests(self, catalog: str) -> list[Manifest]:
        """Manifests of the catalog's releases in the order of their publishing; damaged ones are left out."""
        return [release.manifest for release in self.releases(catalog) if release.manifest is not None]

    def manifest(self, catalog: str, release: str) -> Manifest:
        """The manifest of one release. Raises ReleaseError when it is missing, damaged or unreadable."""
        return self._read(catalog, release)[0]

    def verify(self, catalog: str, release: str, part: str = "", known: Digests | None = None) -> Manifest:
        """The manifest, once the digest of every file, or of each whose name begins with `part`, is verified.

        Raises ReleaseError with the first file that is not.
        """
        manifest = self.manifest(catalog, release)
        check_files(self.path(catalog, release), manifest, part, known)
        return manifest

    def add(self, path: Path) -> FileEntry:
        """Moves a finished file into the objects and returns its content. The file at `path` is gone afterwards."""
        return self._objects.add(path)

    def add_copy(self, path: Path) -> FileEntry:
        """Like `add`, but leaves the file where it is."""
        return self._objects.add_copy(path)

    def named(self, name: str | None) -> str:
        """The catalog of that name, or the only one there is. Raises ReleaseError."""
        names = self.catalogs()
        if name is not None:
            if name not in names:
                there = ", ".join(names) or "nothing published yet"
                raise ReleaseError(f"{self.root} holds no catalog {quoted(name)}; there is: {there}")
            return name
        if not names:
            raise ReleaseError(f"{self.root} holds no release: make one with `tandem index`")
        if len(names) > 1:
            raise ReleaseError(f"{self.root} holds several catalogs, choose one with --catalog: {', '.join(names)}")
        return names[0]

    def publish(self, manifest: Manifest) -> Manifest:
        """Makes a release of files already added, and points the catalog to it; returns its manifest, numbered.

        What it wrote is removed again on failure.
        """
        manifest = manifest.model_copy(update={"sequence": self._next(manifest.catalog)})
        folder = self.path(manifest.catalog, manifest.release_id)
        staging = folder.with_name(f"{_STAGING}{manifest.release_id}")
        remove(staging)
        made = staging
        try:
            write_release(manifest, self._objects, staging, self._signing_key)
            staging.rename(folder)
            made = folder
            for path in (folder.parent, self.root / "catalogs", self.root):  # who made them may have ended at once
                sync(path)
            self.point(manifest.catalog, manifest.release_id)
        except FAILURES:
            if not self._points_to(manifest):
                with contextlib.suppress(OSError):
                    remove(made)
            raise
        return manifest

    def point(self, catalog: str, release: str, action: str = "publish") -> None:
        """Swaps the catalog's pointer to a release that is there, by rename. The audit log has the `action` before."""
        manifest, digest = self._read(catalog, release)
        target = PointerContent(release, digest, manifest.sequence)
        try:
            trail = self._trail(catalog)
        except ReleaseError:  # what was served is unknown: use what was published before
            trail = self._pointed_before((manifest.sequence, release), catalog)
        there = [entry for entry in step(trail, target) if entry.sha256 and self.path(catalog, entry.release).is_dir()]
        self.audit.record(action, catalog, release=release, before=trail[0].release if trail else "")
        write_pointer(self.folder(catalog) / _POINTER, there)

    def sign(self, catalog: str, release: str, key: SigningKey) -> None:
        """Signs a release that is there, in place of whoever signed it before. The audit log has it before."""
        path = self.path(catalog, release)
        _, digest = self._read(catalog, release)
        data = (path / MANIFEST_NAME).read_bytes()
        if bytes_digest(data) != digest:
            raise ReleaseError(f"release {release}: its manifest changed meanwhile; run it again")
        self.audit.record("sign", catalog, release=release, manifest=digest)
        replace_bytes(path / SIGNATURE_NAME, key.sign(data))

    def prune(self, catalog: str, keep: int) -> list[str]:
        """Removes all but the `keep` newest whole releases, the one in service, and the one that stands in for it.

        Returns the names of those that went. Every file of what is kept is read; where no release is whole, all stay.
        Call it under `lock(catalog, alone=True)`: another job's files may not be in any manifest yet.
        """
        names = [release.name for release in self.releases(catalog)]
        kept_names = self._worth_keeping(catalog, names, keep)
        gone = [name for name in names if name not in kept_names] if kept_names else []
        folder = self.folder(catalog)
        for name in gone:
            (folder / name).rename(folder / f"{_GONE}{name}")
        if gone:
            sync(folder)  # before files go, so that none is missing of a release that is listed
        for path in folder.glob(f"{_GONE}*"):  # now, or in a pruning that was cut off
            remove(path)
        self._drop_unused_objects()
        return gone

    @contextmanager
    def lock(self, catalog: str, exclusive: bool = False) -> Iterator[None]:
        """Locks a catalog for changes; with `exclusive`, every other catalog of the folder as well.

        What a process that ended in the midst of it left is swept first; on failure, files that no release has are
        removed. Raises ReleaseError at once when another process is in the way, or the folder cannot be written.
        """
        folder = self.folder(catalog)
        with contextlib.ExitStack() as stack:
            try:
                make_folder(folder)
                whole, one = (stack.enter_context((path / ".lock").open("w")) for path in (self.root, folder))
                fcntl.flock(whole, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ReleaseError(
                    f"another job is changing catalog {catalog!r} in {self.root}: wait for it to end"
                ) from None
            except OSError as error:
                raise ReleaseError(
                    f"{error.filename or folder} cannot be written: {error.strerror}; run it where, and as who, "
                    "releases can be changed"
                ) from None
            self._sweep(folder)
            try:
                yield
            except FAILURES:
                with contextlib.suppress(OSError):  # where other jobs are at it, theirs are not in a manifest yet
                    fcntl.flock(whole, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._drop_unused_objects()
                raise

    def _points_to(self, manifest: Manifest) -> bool:
        with contextlib.suppress(ReleaseError):
            return self.current(manifest.catalog) == manifest.release_id
        return False

    def _next(self, catalog: str) -> int:
        """One more than any release's number."""
        numbers = [release.sequence for release in self.releases(catalog)]
        return 1 + max([*numbers, *(entry.sequence for entry in self._pointed(catalog))], default=0)

    def _pointed(self, catalog: str) -> tuple[PointerContent, ...]:
        """The pointer's entries; empty where it is damaged."""
        with contextlib.suppress(ReleaseError):
            return read_pointer(self.folder(catalog) / _POINTER)
        return ()

    def _trail(self, catalog: str) -> list[PointerContent]:
        """What is served, then what was before it. Raises ReleaseError for a pointer that is damaged."""
        pointed = read_pointer(self.folder(catalog) / _POINTER)
        if not pointed or pointed[0].sha256:
            return list(pointed)
        current = pointed[0].release  # an earlier version wrote the name alone: what was published before was served
        with contextlib.suppress(ReleaseError):
            pointed = (PointerContent(current, self._read(catalog, current)[1]),)
        return [pointed[0], *self._pointed_before((0, current), catalog)]

    def _pointed_before(self, order: tuple[int, str], catalog: str) -> list[PointerContent]:
        before = [release for release in self.releases(catalog) if release.manifest and release.order < order]
        return [PointerContent(r.name, self._read(catalog, r.name)[1], r.order[0]) for r in reversed(before)]

    def _worth_keeping(self, catalog: str, names: list[str], keep: int) -> set[str]:
        """The newest whole releases and what is, or would be, served; nothing where none is whole."""
        digests: Digests = {}

        def whole(name: str) -> bool:
            with contextlib.suppress(ReleaseError):
                self.verify(catalog, name, known=digests)
                return True
            return False

        newest: set[str] = set()
        for name in reversed(names):
            if len(newest) < keep and whole(name):
                newest.add(name)
        if not newest:
            return set()
        served: list[str] = []
        with contextlib.suppress(ReleaseError):  # of a damaged pointer; the newest whole release is kept anyway
            served = [current] if (current := self.current(catalog)) else []
        stand_in = next((name for name in (*served, *self.earlier(catalog)) if whole(name)), None)
        return newest | set(served) | ({stand_in} if stand_in else set())

    def _listed(self, folder: Path, number: int = 0) -> Release:
        """`number` is the sequence by the pointer."""
        try:
            manifest, _ = self._read(folder.parent.name, folder.name)
        except ReleaseError as error:
            return Release(folder.name, None, str(error), number)
        return Release(folder.name, manifest, "", manifest.sequence)

    def _sized(self, catalog: str, release: Release) -> Release:
        try:
            if release.manifest is not None:
                check_sizes(self.path(catalog, release.name), release.manifest)
        except ReleaseError as error:
            return Release(release.name, None, str(error), release.sequence)
        return release

    def _read(self, catalog: str, release: str) -> tuple[Manifest, str]:
        """The manifest and the SHA-256 of its file."""
        pointed = self._pointed(catalog)  # where it is damaged, the digest beside the manifest is enough
        expected = next((entry.sha256 for entry in pointed if entry.release == release), None)
        return read_manifest(self.path(catalog, release), expected, self._keys)

    def _sweep(self, folder: Path) -> None:
        """Removes what processes that ended while they held the catalog's lock left in it."""
        for pattern in (f"{_STAGING}*", f"{_GONE}*", f".{_POINTER}-*"):
            for leftover in folder.glob(pattern):
                remove(leftover)
        self._objects.sweep()

    def _drop_unused_objects(self) -> None:
        """A damaged release keeps its own links or copies, and needs no objects."""
        folders = (self.root / "catalogs").glob("*/r-*")
        listed = (self._listed(folder) for folder in folders if _NAME.fullmatch(folder.parent.name))
        used = {entry.sha256 for release in listed if release.manifest for entry in release.manifest.files.values()}
        self._objects.drop_unused(used)
