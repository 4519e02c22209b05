"""Run by torchrun: trains tiny towers with each of the settings that a JSON file lists, one after the other."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import tiny

from encoder.train.finetune import train_encoder
from encoder.train.settings import EncoderTraining
from training.examples import Examples


def teacher(queries: Sequence[str], texts: Sequence[str]) -> np.ndarray:
    """Likes long texts."""
    return np.array([len(text) / 20 for text in texts], np.float32)


def main(given: Path, output: Path) -> None:
    """Leaves each in a folder of its number."""
    for place, settings in enumerate(json.loads(given.read_text())):
        chosen = EncoderTraining.model_validate(settings)
        examples = replace(Examples.split(tiny.TEXTS, tiny.judgments()), teacher=teacher)
        assert train_encoder(examples, output / str(place), chosen)["best"] > 0


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
