"""Which engine runs a release, by the settings."""

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from core.manifest import Manifest
from encoder.bi_encoder import BiEncoder
from engine.device import chosen_device
from engine.embedded import GPU_BATCHES, EmbeddedEngine
from engine.fallback import FallbackEngine
from engine.half import half_path
from engine.lanes import ObserveBatch, ignore_batch
from engine.local_search import LocalSearchEngine
from engine.protocol import Engine, EngineError
from engine.vector.index import VectorIndex
from ranker.ranker import Ranker
from retrieval.release.loaded import MakeEngine, embedded_engine
from retrieval.server.settings import TRITON_FOLDER, ServeSettings

if TYPE_CHECKING:
    from engine.triton.repository import ReleaseModels

log = logging.getLogger("tandem.engines")


def engine_maker(settings: ServeSettings, observe: ObserveBatch = ignore_batch) -> MakeEngine:
    """What makes the engine of each release. `observe` is called after each batch that runs in this process.

    Raises TandemError where a GPU is requested and cannot be used, or Triton's client is not installed.
    """
    if settings.engine == "embedded":
        return _in_process(settings, observe)
    import engine.triton  # noqa: F401

    return partial(triton_engine, settings, observe=observe)


def _in_process(settings: ServeSettings, observe: ObserveBatch) -> MakeEngine:
    if chosen_device(settings.device) == "cuda":
        return partial(gpu_engine, settings, observe=observe)
    return partial(embedded_engine, lanes=settings.lanes_each, observe=observe)


def gpu_engine(
    settings: ServeSettings,
    folder: Path,
    manifest: Manifest,
    tower: BiEncoder,
    ranker: Ranker | None,
    observe: ObserveBatch = ignore_batch,
) -> Engine:
    """The release's models and index on a GPU of this process.

    Raises ModelError or ReleaseError where they cannot be there, unless the device is chosen by what there is: then
    processors run a release that has no weights for a GPU.
    """
    from engine.gpu.index import copy_to_gpus
    from engine.gpu.packed import PackedModel

    models = [tower.model_path("query"), *([ranker.model_path] if ranker is not None else [])]
    lacking = [half_path(model).name for model in models if not half_path(model).is_file()]
    if lacking and settings.device == "auto":
        message = "release %s has no %s and runs on processors: index the catalog with --precision fp16 for the GPU"
        log.warning(message, manifest.release_id, " and ".join(lacking))
        return embedded_engine(folder, manifest, tower, ranker, settings.lanes_each, observe)
    index = VectorIndex.open(folder / "index.faiss", manifest.snapshot.index)
    on_gpu = copy_to_gpus(index, settings.gpus, settings.gpu_spread, settings.gpu_search)
    query_tower, *others = map(PackedModel.open, models)
    ranker_model = others[0] if others else None
    return EmbeddedEngine(query_tower, on_gpu, ranker_model, lanes=1, batches=GPU_BATCHES, observe=observe)


def repository_of(settings: ServeSettings) -> Path:
    """The folder of the models that Triton reads."""
    return settings.triton_repository or settings.releases / TRITON_FOLDER


def release_models(folder: Path, manifest: Manifest) -> "ReleaseModels":
    """What of the release in this folder a Triton server runs."""
    ranker = Ranker.open(folder / "ranker") if manifest.model.ranker is not None else None
    return _models(folder, manifest, BiEncoder.open(folder / "encoder"), ranker)


def triton_engine(
    settings: ServeSettings,
    folder: Path,
    manifest: Manifest,
    tower: BiEncoder,
    ranker: Ranker | None,
    observe: ObserveBatch = ignore_batch,
) -> Engine:
    """The release's models, loaded into the Triton server, with what the settings fall back to.

    The engine to fall back to is kept loaded: models are opened in no time only while nothing is wrong. Raises
    ReleaseError, ModelError, or EngineError where Triton cannot load them and there is nothing to fall back to.
    """
    from engine.triton.engine import ServedModels, TritonEngine
    from engine.triton.residence import Residence

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
        served = ServedModels(names, residence.inputs, dimensions, manifest.snapshot.products)
        engine: Engine = TritonEngine(settings.triton_url, served, residence.load, residence.leave)
        if settings.fallback != "lexical":
            engine = FallbackEngine(engine, _in_process(settings, observe)(folder, manifest, tower, ranker))
        open_index = partial(VectorIndex.open, folder / "index.faiss", manifest.snapshot.index)
        return LocalSearchEngine(engine, open_index, settings.lanes_each)
    except BaseException:
        residence.leave()
        raise


def _models(folder: Path, manifest: Manifest, tower: BiEncoder, ranker: Ranker | None) -> "ReleaseModels":
    from engine.triton.repository import ReleaseModels

    return ReleaseModels(
        manifest.catalog,
        manifest.release_id,
        tower.model_path("query"),
        folder / "index.faiss",
        manifest.snapshot.index,
        ranker.model_path if ranker is not None else None,
    )
