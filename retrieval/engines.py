"""Which engine runs a release, by the settings."""

from functools import partial
from pathlib import Path

from core.manifest import Manifest
from encoder.tower import Tower
from engine.fallback import FallbackEngine
from engine.triton import Served, TritonEngine
from engine.triton_repository import ReleaseModels
from engine.triton_residence import Residence
from engine.types import Engine, EngineError
from ranker.ranker import Ranker
from retrieval.loaded import MakeEngine, embedded_engine
from retrieval.settings import TRITON_FOLDER, ServeSettings


def engine_maker(settings: ServeSettings) -> MakeEngine:
    """What makes the engine of each release."""
    if settings.engine == "embedded":
        return partial(embedded_engine, lanes=settings.lanes_each)
    return partial(triton_engine, settings)


def repository_of(settings: ServeSettings) -> Path:
    """The folder of the models that Triton reads."""
    return settings.triton_repository or settings.releases / TRITON_FOLDER


def release_models(folder: Path, manifest: Manifest) -> ReleaseModels:
    """What of the release in this folder a Triton server runs."""
    ranker = Ranker.open(folder / "ranker") if manifest.model.ranker is not None else None
    return _models(folder, manifest, Tower.open(folder / "encoder"), ranker)


def triton_engine(
    settings: ServeSettings, folder: Path, manifest: Manifest, tower: Tower, ranker: Ranker | None
) -> Engine:
    """The release's models, loaded into the Triton server, with what the settings fall back to.

    The engine to fall back to is kept loaded: models are opened in no time only while nothing is wrong. Raises
    ReleaseError, ModelError, or EngineError where Triton cannot load them and there is nothing to fall back to.
    """
    models = _models(folder, manifest, tower, ranker)
    residence = Residence(settings.triton_url, repository_of(settings), models)
    try:
        try:
            residence.load()
        except EngineError:
            if settings.fallback == "lexical":
                raise
        names = {call: models.name(call) for call in models.calls}
        dimensions = int(manifest.snapshot.index["dimensions"])
        served = Served(names, residence.inputs, dimensions, manifest.snapshot.products)
        engine = TritonEngine(settings.triton_url, served, residence.load, residence.leave)
        if settings.fallback == "lexical":
            return engine
        return FallbackEngine(engine, embedded_engine(folder, manifest, tower, ranker, settings.lanes_each))
    except BaseException:
        residence.leave()
        raise


def _models(folder: Path, manifest: Manifest, tower: Tower, ranker: Ranker | None) -> ReleaseModels:
    return ReleaseModels(
        manifest.catalog,
        manifest.release_id,
        tower.model_path("query"),
        folder / "index.faiss",
        manifest.snapshot.index,
        ranker.model_path if ranker is not None else None,
    )
