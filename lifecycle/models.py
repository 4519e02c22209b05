"""Finds the model set an index job is to use: given, in service, or the bundled untuned towers."""

from pathlib import Path

from core.digest import value_digest
from core.errors import ModelError
from core.releases import ReleaseStore
from encoder.tower import SPEC_FILE as TOWER_FILE
from indexer.job import Models
from ranker.ranker import SPEC_FILE as RANKER_FILE


def resolve_models(encoder: str | None, ranker: str | None, store: ReleaseStore, catalog: str) -> Models:
    """Folders of an encoder and, where there is one, a ranker.

    Each may be a folder that `tandem train` left, a sentence-transformers or Hugging Face folder, or a hub id; the
    latter are exported once and kept in the release folder. What is not given is taken from the release in service;
    before the first, the encoder is the bundled untuned one and there is no ranker. Raises ModelError.
    """
    served = _served(store, catalog)
    return Models(
        encoder=_encoder(encoder, store) if encoder or served is None else served.encoder,
        ranker=_ranker(ranker, store) if ranker else served.ranker if served else None,
    )


def _served(store: ReleaseStore, catalog: str) -> Models | None:
    current = store.current(catalog)
    return models_of(store, catalog, current) if current else None


def models_of(store: ReleaseStore, catalog: str, release: str) -> Models:
    """The model folders inside a release. Raises ReleaseError when there is no such release."""
    folder = store.path(catalog, release)
    has_ranker = store.manifest(catalog, release).model.ranker is not None
    return Models(folder / "encoder", folder / "ranker" if has_ranker else None)


def _encoder(given: str | None, store: ReleaseStore) -> Path:
    if given and (Path(given) / TOWER_FILE).is_file():
        return Path(given)
    target = _exported(store, "encoder", given)
    if not (target / TOWER_FILE).is_file():
        _need_training("an encoder that is not exported yet")
        from encoder.train.export import export_encoder

        export_encoder(given, target)
    return target


def _ranker(given: str, store: ReleaseStore) -> Path:
    if (Path(given) / RANKER_FILE).is_file():
        return Path(given)
    target = _exported(store, "ranker", given)
    if not (target / RANKER_FILE).is_file():
        _need_training("a ranker that is not exported yet")
        from ranker.train.export import export_ranker

        export_ranker(given, target)
    return target


def _exported(store: ReleaseStore, kind: str, given: str | None) -> Path:
    """Where an export of a folder or hub id is kept; a folder whose weights change is exported anew."""
    weights = sorted(Path(given).glob("*.safetensors")) if given else []
    state = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in weights]
    return store.root / "exported" / kind / value_digest([given or "bundled", state])[:12]


def _need_training(what: str) -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise ModelError(
            f"{what} needs pip install 'tandem-retrieval[train]', or give a folder that `tandem train` left"
        ) from None
