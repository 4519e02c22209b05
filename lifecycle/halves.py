"""Puts half-precision weights beside the models of an index job, made of what each was exported from."""

from collections.abc import Callable
from pathlib import Path

from core.errors import ModelError
from core.releases import ReleaseStore
from encoder.bi_encoder import BiEncoder
from engine.half import has_half
from indexer.models import ModelFolders
from lifecycle.models import EXPORTED, need_training
from ranker.ranker import Ranker
from training.export import CHECKPOINT


def add_halves(models: ModelFolders, encoder: str | None, ranker: str | None, store: ReleaseStore) -> None:
    """Writes them where they are missing; `encoder` and `ranker` are what the models were resolved from.

    Raises ModelError where a model's original weights are gone, or it cannot run on a GPU.
    """
    tower = BiEncoder.open(models.encoder)
    if not all(has_half(tower.model_path(side)) for side in ("query", "item")):
        _add(models.encoder, encoder, store, _towers)
    if models.ranker is not None and not has_half(Ranker.open(models.ranker).model_path):
        _add(models.ranker, ranker, store, _ranker)


def _add(folder: Path, base: str | None, store: ReleaseStore, write: Callable[[str | None, Path], None]) -> None:
    trained = (folder / CHECKPOINT).is_dir()
    if not trained and not folder.resolve().is_relative_to((store.root / EXPORTED).resolve()):
        raise ModelError(
            f"{folder}: has no {CHECKPOINT} to make half-precision weights of; give --encoder or --ranker a folder "
            "that `tandem train` left"
        )
    need_training("making half-precision weights")
    write(str(folder) if trained else base, folder)


def _towers(base: str | None, folder: Path) -> None:
    from encoder.train.half import add_half

    add_half(base, folder)


def _ranker(base: str | None, folder: Path) -> None:
    from ranker.train.half import add_half

    add_half(base, folder)
