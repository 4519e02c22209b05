"""Whatever is published, pointed at, pruned or cut off, in whatever order: every release that is listed is whole."""

import shutil
import tempfile
from pathlib import Path

import pytest
from builders import publish
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from core.manifest import Manifest
from core.releases import ReleaseStore

_CATALOGS = st.sampled_from(["shop", "other"])
_CONTENTS = st.dictionaries(
    st.sampled_from(["products.arrow", "index.faiss", "ranker/tokens.npy"]),
    st.sampled_from([b"", b"a", b"b", b"c" * 100]),
    min_size=1,
)


class _Cut(BaseException):
    pass


class Releases(RuleBasedStateMachine):
    released = Bundle("released")

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="releases-"))
        self.store = ReleaseStore(self.folder / "releases")
        self.number = 0
        self.current: dict[str, str] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def _publish(self, catalog: str, contents: dict[str, bytes], model: bytes) -> Manifest:
        self.number += 1
        with self.store.lock(catalog):
            return publish(
                self.store,
                self.folder / "scratch",
                contents,
                self.number,
                model={"encoder/m": model},
                catalog=catalog,
            )

    @rule(target=released, catalog=_CATALOGS, contents=_CONTENTS, model=st.sampled_from([b"m", b"a"]))
    def publishes(self, catalog: str, contents: dict[str, bytes], model: bytes) -> Manifest:
        manifest = self._publish(catalog, contents, model)
        self.current[catalog] = manifest.release_id
        return manifest

    @rule(catalog=_CATALOGS, contents=_CONTENTS, step=st.integers(1, 6))
    def is_cut_off(self, catalog: str, contents: dict[str, bytes], step: int) -> None:
        left = [step]
        real = Path.rename

        def rename(path: Path, target: Path) -> Path:
            left[0] -= 1
            if not left[0]:
                raise _Cut
            return real(path, target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "rename", rename)
            try:
                self.current[catalog] = self._publish(catalog, contents, b"cut").release_id
            except _Cut:
                return

    @rule(manifest=released)
    def points(self, manifest: Manifest) -> None:
        folder = self.store.path(manifest.catalog, manifest.release_id)
        if folder.exists():  # not pruned since
            self.store.point(manifest.catalog, manifest.release_id)
            self.current[manifest.catalog] = manifest.release_id

    @rule(manifest=consumes(released), keep=st.integers(1, 3))
    def prunes(self, manifest: Manifest, keep: int) -> None:
        catalog = manifest.catalog
        before = [entry.release_id for entry in self.store.manifests(catalog)]
        with self.store.lock(catalog, alone=True):
            gone = self.store.prune(catalog, keep)
        kept = [entry.release_id for entry in self.store.manifests(catalog)]
        assert sorted([*gone, *kept]) == before
        assert set(kept) == {*before[-keep:], self.current[catalog]}
        used = {
            file.sha256
            for name in ("shop", "other")
            for entry in self.store.manifests(name)
            for file in entry.files.values()
        }
        assert {path.name for path in (self.store.root / "objects").iterdir()} == used

    @invariant()
    def all_that_is_listed_is_whole(self) -> None:
        assert self.store.catalogs() == sorted(self.current)
        for catalog, release in self.current.items():
            assert self.store.current(catalog) == release
            listed = [entry.release_id for entry in self.store.manifests(catalog)]
            assert release in listed and listed == sorted(listed)
            for name in listed:
                self.store.verify(catalog, name)


TestReleases = Releases.TestCase
TestReleases.settings = settings(max_examples=25, stateful_step_count=15, deadline=None, derandomize=True)
