"""Whatever is published, pointed at, damaged, pruned or cut off, in whatever order, by whatever clock."""

import contextlib
import shutil
import tempfile
from pathlib import Path

import pytest
from builders import publish
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from core.errors import ReleaseError
from core.manifest import Manifest
from core.releases import ReleaseStore
from lifecycle.rollback import rollback_release

_CATALOGS = st.sampled_from(["shop", "other"])
_CONTENTS = st.dictionaries(
    st.sampled_from(["products.arrow", "index.faiss", "ranker/tokens.npy"]),
    st.sampled_from([b"", b"a", b"b", b"c" * 100]),
    min_size=1,
)


class _Cut(BaseException):
    pass


class Releases(RuleBasedStateMachine):
    """The model: of each catalog the names in the order of publishing, and those served, the last being in service."""

    released = Bundle("released")

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="releases-"))
        self.store = ReleaseStore(self.folder / "releases")
        self.number = 0
        self.order: dict[str, list[str]] = {"shop": [], "other": []}
        self.trail: dict[str, list[str]] = {"shop": [], "other": []}
        self.damaged: set[tuple[str, str]] = set()

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    def _publish(self, catalog: str, contents: dict[str, bytes], model: bytes, clock: int = 0) -> Manifest:
        self.number += 1
        with self.store.lock(catalog):
            return publish(
                self.store,
                self.folder / "scratch",
                contents,
                self.number + clock * 1000,
                model={"encoder/m": model},
                catalog=catalog,
            )

    def _whole(self, catalog: str, names: list[str]) -> list[str]:
        return [name for name in names if (catalog, name) not in self.damaged]

    @rule(
        target=released,
        catalog=_CATALOGS,
        contents=_CONTENTS,
        model=st.sampled_from([b"m", b"a"]),
        clock=st.integers(-3, 3),
    )
    def publishes(self, catalog: str, contents: dict[str, bytes], model: bytes, clock: int) -> Manifest:
        manifest = self._publish(catalog, contents, model, clock)
        self.order[catalog].append(manifest.release_id)
        self.trail[catalog].append(manifest.release_id)
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

        before = {release.name for release in self.store.releases(catalog)}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "rename", rename)
            with contextlib.suppress(_Cut):
                self.trail[catalog].append(self._publish(catalog, contents, b"cut").release_id)
        self.order[catalog] += [r.name for r in self.store.releases(catalog) if r.name not in before]

    @rule(manifest=released)
    def points(self, manifest: Manifest) -> None:
        catalog, name = manifest.catalog, manifest.release_id
        if name in self.order[catalog]:  # not pruned since
            with self.store.lock(catalog):
                self.store.point(catalog, name)
            trail = self.trail[catalog]
            self.trail[catalog] = trail[: trail.index(name) + 1] if name in trail else [*trail, name]

    @rule(catalog=_CATALOGS)
    def rolls_back(self, catalog: str) -> None:
        trail = self.trail[catalog]
        whole = self._whole(catalog, trail[:-1])
        if whole:
            assert rollback_release(self.store, catalog, None) == whole[-1]
            self.trail[catalog] = trail[: trail.index(whole[-1]) + 1]
        elif trail:
            with pytest.raises(ReleaseError, match=r"has no release before|is whole; choose one"):
                rollback_release(self.store, catalog, None)

    @rule(manifest=released)
    def is_damaged(self, manifest: Manifest) -> None:
        path = self.store.path(manifest.catalog, manifest.release_id) / "encoder" / "m"
        if path.exists():
            path.unlink()
            path.write_bytes(b"?")
            self.damaged.add((manifest.catalog, manifest.release_id))

    @rule(manifest=consumes(released), keep=st.integers(1, 3))
    def prunes(self, manifest: Manifest, keep: int) -> None:
        catalog = manifest.catalog
        before, trail = self.order[catalog], self.trail[catalog]
        with self.store.lock(catalog, exclusive=True):
            gone = self.store.prune(catalog, keep)
        whole = self._whole(catalog, before)
        kept = {*whole[-keep:], *trail[-1:], *self._whole(catalog, trail)[-1:]} if whole else set(before)
        assert gone == [name for name in before if name not in kept]
        self.order[catalog] = [name for name in before if name in kept]
        self.trail[catalog] = [name for name in trail if name in kept]
        used = {
            file.sha256
            for name in ("shop", "other")
            for entry in self.store.manifests(name)
            for file in entry.files.values()
        }
        assert {path.name for path in (self.store.root / "objects").iterdir()} == used

    @invariant()
    def the_store_is_as_the_model(self) -> None:
        assert self.store.catalogs() == sorted(name for name, trail in self.trail.items() if trail)
        for catalog, trail in self.trail.items():
            assert self.store.current(catalog) == (trail[-1] if trail else None)
            assert self.store.earlier(catalog) == trail[-2::-1]
            assert [release.name for release in self.store.releases(catalog)] == self.order[catalog]
            for name in self._whole(catalog, self.order[catalog]):
                self.store.verify(catalog, name)


TestReleases = Releases.TestCase
TestReleases.settings = settings(max_examples=25, stateful_step_count=15, deadline=None, derandomize=True)
