"""Finds the model set an index job is to use: given, in service, or the bundled untuned towers."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.digest import file_digest, value_digest
from core.durable import whole_folder
from core.errors import ModelError, ReleaseError
from core.manifest import Manifest
from core.releases import ReleaseStore
from encoder.bi_encoder import SPEC_FILE as TOWER_FILE
from indexer.models import ModelFolders
from indexer.user_models import SPEC_FILE as USERS_FILE
from lifecycle.tracking.lineage import read_lineage
from ranker.final import SPEC_FILE as FINAL_FILE
from ranker.ranker import SPEC_FILE as RANKER_FILE

log = logging.getLogger("tandem.models")

_DIGESTS = "exported.json"
EXPORTED = "exported"  # of the release folder: models that were given in another form


def resolve_models(
    encoder: str | None,
    ranker: str | None,
    store: ReleaseStore,
    catalog: str,
    final: Path | None = None,
    users: Path | None = None,
) -> ModelFolders:
    """Folders of an encoder and, where there are any, a ranker, a final score and what was learned of users.

    Each model may be a folder that `tandem train` left, a sentence-transformers or Hugging Face folder, or a hub id;
    the latter are exported once and kept in the release folder. What is not given is taken from the release in service,
    the final score only where both models are, since it was trained on their scores, and what was learned of users only
    where the encoder is, over whose vectors it was. Before the first release, the
    encoder is the bundled untuned one and there is no ranker. Raises ModelError, or ReleaseError when the release in
    service is damaged.
    """
    manifest = _in_service(store, catalog, encoder)
    served = manifest.release_id if manifest else None
    known = (manifest.model.lineage or {}) if manifest else {}
    given = {"encoder": encoder, "ranker": ranker}
    if final is None and served and not encoder and not ranker:
        final = _final_of(store, catalog, served)
    if users is None and served and not encoder:
        users = _users_of(store, catalog, served)
    return with_lineage(
        _encoder(encoder, store) if encoder or not served else _encoder_of(store, catalog, served),
        _ranker(ranker, store) if ranker else _ranker_of(store, catalog, served) if served else None,
        {kind: run for kind, run in known.items() if not given.get(kind)},
        final,
        users,
    )


def models_in(folder: Path) -> ModelFolders:
    """The models that trainings left in a folder: `encoder`, and `ranker`, `final` and `users` where there are any.

    Raises ModelError without an encoder.
    """
    encoder, ranker, final, users = (folder / name for name in ("encoder", "ranker", "final", "users"))
    if not (encoder / TOWER_FILE).is_file():
        raise ModelError(f"{folder} holds no encoder/{TOWER_FILE}; give the folder that `tandem train --recipe` left")
    return with_lineage(
        encoder,
        ranker if (ranker / RANKER_FILE).is_file() else None,
        final=final if (final / FINAL_FILE).is_file() else None,
        users=users if (users / USERS_FILE).is_file() else None,
    )


def _in_service(store: ReleaseStore, catalog: str, encoder: str | None) -> Manifest | None:
    try:
        return store.in_service(catalog)
    except ReleaseError as error:
        if not encoder:
            raise ReleaseError(f"{error}; with --encoder, and --ranker, all can be made anew") from None
        log.warning("no model is taken from what was in service: %s", error)
        return None


def models_of(store: ReleaseStore, catalog: str, release: str) -> ModelFolders:
    """The model folders inside a release, their digests verified. Raises ReleaseError where one does not match."""
    known = store.manifest(catalog, release).model.lineage
    folders = _encoder_of(store, catalog, release), _ranker_of(store, catalog, release)
    return with_lineage(*folders, known, _final_of(store, catalog, release), _users_of(store, catalog, release))


def with_lineage(
    encoder: Path,
    ranker: Path | None,
    known: Mapping[str, Any] | None = None,
    final: Path | None = None,
    users: Path | None = None,
) -> ModelFolders:
    """A model set with the lineage of each model: the known one, else `run.json` beside it. Raises ModelError."""
    runs = {kind: read_lineage(folder) for kind, folder in (("encoder", encoder), ("ranker", ranker)) if folder}
    lineage = {kind: run for kind, run in {**runs, **(known or {})}.items() if run and kind in runs}
    return ModelFolders(encoder, ranker, lineage or None, final, users)


def _encoder_of(store: ReleaseStore, catalog: str, release: str) -> Path:
    store.verify(catalog, release, "encoder/")
    return store.path(catalog, release) / "encoder"


def _ranker_of(store: ReleaseStore, catalog: str, release: str) -> Path | None:
    manifest = store.verify(catalog, release, "ranker/")
    return store.path(catalog, release) / "ranker" if manifest.model.ranker is not None else None


def _final_of(store: ReleaseStore, catalog: str, release: str) -> Path | None:
    manifest = store.verify(catalog, release, "final/")
    return store.path(catalog, release) / "final" if manifest.model.final is not None else None


def _users_of(store: ReleaseStore, catalog: str, release: str) -> Path | None:
    manifest = store.verify(catalog, release, "users/")
    return store.path(catalog, release) / "users" if manifest.model.users is not None else None


def _encoder(location: str | None, store: ReleaseStore) -> Path:
    if location and (Path(location) / TOWER_FILE).is_file():
        return Path(location)
    target = _exported(store, "encoder", location)
    if _is_whole(target, TOWER_FILE):
        return target
    with whole_folder(target) as folder:
        if location is None:
            from encoder.bundled import export_bundled

            export_bundled(folder)
        else:
            need_training("an encoder that is not exported yet")
            from encoder.train.export import export_encoder

            export_encoder(location, folder)
        _write_digests(folder)
    return target


def _ranker(location: str, store: ReleaseStore) -> Path:
    if (Path(location) / RANKER_FILE).is_file():
        return Path(location)
    target = _exported(store, "ranker", location)
    if not _is_whole(target, RANKER_FILE):
        need_training("a ranker that is not exported yet")
        from ranker.train.export import export_ranker

        with whole_folder(target) as folder:
            export_ranker(location, folder)
            _write_digests(folder)
    return target


def _exported(store: ReleaseStore, kind: str, base: str | None) -> Path:
    """Where an export of a folder or hub id is kept; a folder whose weights change is exported anew."""
    weights = sorted(Path(base).rglob("*.safetensors")) if base else []
    state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in weights]
    return store.root / EXPORTED / kind / value_digest([base or "bundled", state])[:12]


def _write_digests(folder: Path) -> None:
    """Writes the digests that `_is_whole` compares; files added later do not count."""
    digests = {path.name: file_digest(path) for path in sorted(folder.iterdir()) if path.is_file()}
    (folder / _DIGESTS).write_text(json.dumps(digests, indent=2) + "\n")


def _is_whole(folder: Path, spec: str) -> bool:
    """Whether an export is unchanged; earlier versions wrote no digests, and their exports are accepted unchecked."""
    if not (folder / spec).is_file():
        return False
    try:
        digests: dict[str, str] = json.loads((folder / _DIGESTS).read_bytes())
        whole = all(file_digest(folder / name) == digest for name, digest in digests.items())
    except FileNotFoundError:
        whole = not (folder / _DIGESTS).is_file()
    except (OSError, ValueError, AttributeError, TypeError):
        whole = False
    if not whole:
        log.warning("%s is damaged and exported anew", folder)
    return whole


def need_training(what: str) -> None:
    """Raises ModelError, naming the operation, where torch is missing."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise ModelError(
            f"{what} needs pip install 'tandem-retrieval[train]', or give a folder that `tandem train` left"
        ) from None
