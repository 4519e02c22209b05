"""What a training of the towers learns: rows or graded pairs or both, and a loss for each."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from datasets import Dataset, DatasetDict
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import nn

from core.errors import ModelError
from encoder.train.examples import TrainingRows, graded_pairs, training_rows
from encoder.train.false_negatives import FalseNegatives
from encoder.train.losses import RowSupervision, add_matryoshka, graded_loss, rows_loss
from encoder.train.settings import EncoderTraining
from training.examples import Examples, PairValues
from training.processes import count


@dataclass(frozen=True, slots=True)
class Objective:
    """`examples` counts rows, or pairs where there are no rows; `further` is what the losses go by beside the texts."""

    dataset: Dataset | DatasetDict
    loss: nn.Module | dict[str, nn.Module]
    examples: int
    further: Any

    @property
    def in_an_epoch(self) -> int:
        """What is gone through in an epoch: with every batch of rows goes one of graded pairs."""
        return self.examples * (len(self.loss) if isinstance(self.loss, dict) else 1)

    @property
    def columns(self) -> set[str]:
        """All that the data sets have."""
        names = self.dataset.column_names
        return set(chain.from_iterable(names.values()) if isinstance(names, dict) else names)


def make_objective(model: SentenceTransformer, examples: Examples, settings: EncoderTraining) -> Objective:
    """Rows and loss by the settings. Raises ModelError when there is nothing to learn from, or no teacher to distil."""
    train, texts, teacher = examples.train, examples.texts, examples.teacher
    if settings.distil and teacher is None:
        raise ModelError(
            f"distil {settings.distil:g} needs the scores of a teacher, a trained cross-encoder; give one (--teacher)"
        )
    prompts = model.prompts or {}
    if settings.loss == "graded":
        pairs = graded_pairs(train, texts, settings, prompts)
        return Objective(pairs, add_matryoshka(model, graded_loss(model, settings, 1.0), settings), len(pairs), None)
    rows = training_rows(train, texts, settings, prompts, examples.negatives)
    # Between processes nothing else keeps a query's other answers, or another's same product, apart.
    masked = settings.mask_false_negatives or count() > 1
    scores = _scores(rows, texts, teacher) if teacher is not None and settings.distil else None
    supervision = RowSupervision(FalseNegatives(rows, train, texts) if masked else None, scores)
    further = [train.queries if masked else None, None if scores is None else scores.tolist()]
    loss = add_matryoshka(model, rows_loss(model, settings, supervision), settings)
    if not settings.graded:
        return Objective(rows.rows, loss, len(rows), further)
    graded = add_matryoshka(model, graded_loss(model, settings, settings.graded), settings)
    dataset = DatasetDict(rows=rows.rows, graded=graded_pairs(train, texts, settings, prompts))
    return Objective(dataset, {"rows": loss, "graded": graded}, len(rows), further)


def _scores(rows: TrainingRows, texts: Mapping[str, str], teacher: PairValues) -> NDArray[np.float32]:
    """The teacher's scores of each row's good product and negatives, shape (m, n + 1); it scores each pair once."""
    pairs = [(query, name) for query, names in zip(rows.queries, rows.products, strict=True) for name in names]
    different = list(dict.fromkeys(pairs))
    values = teacher([query for query, _ in different], [texts[name] for _, name in different])
    by_pair = dict(zip(different, np.asarray(values, np.float32), strict=True))
    return np.array([by_pair[pair] for pair in pairs], np.float32).reshape(len(rows), -1)
