"""The options that both trainings share, for the cross-encoder: it trains, exports and loads."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from safetensors.numpy import load_file

from ranker.ranker import Ranker
from ranker.train.finetune import train_ranker
from ranker.train.settings import RankerTraining
from training.examples import Examples


@pytest.mark.parametrize(("given", "kept"), [({"lora": 2}, "LayerNorm"), ({"freeze_embeddings": True}, "word_embed")])
def test_a_ranker_trains_with_each_option(given: dict[str, Any], kept: str, tmp_path: Path) -> None:
    base, output = tiny.write_ranker_base(tmp_path / "base", best_last=True), tmp_path / "ranker"
    small = {"max_steps": 4, "batch_size": 8, "learning_rate": 5e-3, "evaluations": 1, "validation_pairs": 60}
    settings = RankerTraining.model_validate({"base": base, "threads": 1, **small, **given})
    report = train_ranker(Examples.split(tiny.TEXTS, tiny.judgments()), output, settings)
    assert report["best_step"] == 4  # else it stays what it was
    Ranker.open(output)
    before, after = load_file(Path(base) / "model.safetensors"), load_file(output / "checkpoint" / "model.safetensors")
    assert before.keys() == after.keys()
    same = {name for name, weight in after.items() if np.array_equal(weight, before[name])}
    assert {name for name in after if kept in name} <= same
    assert "classifier.weight" not in same and "bert.encoder.layer.1.output.dense.weight" not in same
