"""Run by torchrun: a batch divided among processes has the loss and the gradient of the whole one."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from encoder.train.losses import RowSupervision, rows_loss
from encoder.train.settings import EncoderTraining

ROWS, COLUMNS = 6, 3


def mask(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Row r does not count the negative of row r + 1; its own good product is named as always."""
    own, after = (among[None] == rows[:, None] + step for step in (0, 1))
    return np.concatenate([own, after], axis=1)


class Layer(nn.Linear):
    """Embeds a feature by one matrix, the same in every process."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        super().__init__(4, 3)

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:  # type: ignore[override]
        return {"sentence_embedding": super().forward(features["input_ids"])}

    def __getitem__(self, place: int) -> "Layer":
        return self


def gradient(settings: EncoderTraining, rows: slice, hidden: Callable[..., np.ndarray] | None) -> tuple[Tensor, Tensor]:
    """Of the loss of some rows of the batch, and that loss."""
    features = torch.randn(COLUMNS, ROWS, 4, generator=torch.Generator().manual_seed(2))
    model = Layer()
    loss = rows_loss(model, settings, RowSupervision(hidden))(
        [{"input_ids": column[rows]} for column in features], torch.arange(ROWS)[rows]
    )
    loss.backward()
    assert model.weight.grad is not None
    return model.weight.grad, loss.detach()


def main(folder: Path) -> None:
    """Leaves a file for each process that found the same."""
    rank = int(os.environ["RANK"])
    dist.init_process_group("gloo")
    for hidden in (None, mask):
        for mini_batch in (None, 2):
            settings = EncoderTraining(batch_size=ROWS, mini_batch=mini_batch, scale=3.0)
            half = ROWS // dist.get_world_size()
            result = gradient(settings, slice(rank * half, (rank + 1) * half), hidden)
            for value in result:
                dist.all_reduce(value)
                value /= dist.get_world_size()
            os.environ["WORLD_SIZE"] = "1"
            whole = gradient(settings, slice(None), hidden)
            os.environ["WORLD_SIZE"] = str(dist.get_world_size())
            for ours, theirs in zip(result, whole, strict=True):
                torch.testing.assert_close(ours, theirs)
    (folder / str(rank)).touch()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
