"""The options of the towers' training on a tiny model: each does what it says, and a run that was cut off goes on."""

import contextlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import tiny
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer

from core.progress import ignore
from encoder.bi_encoder import BiEncoder
from encoder.train.finetune import train_encoder
from encoder.train.settings import EncoderTraining
from engine.onnx.session import OnnxModel
from training.examples import Examples


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.write_base(tmp_path_factory.mktemp("base"))


def settings(base: str, **given: Any) -> EncoderTraining:
    small = {"max_steps": 2, "batch_size": 6, "learning_rate": 5e-3, "evaluations": 1, "threads": 1}
    return EncoderTraining.model_validate({"base": base, **small, **given})


def trained(base: str, folder: Path, **given: Any) -> tuple[dict[str, Any], BiEncoder]:
    return train_encoder(Examples.split(tiny.TEXTS, tiny.judgments()), folder, settings(base, **given)), BiEncoder.open(
        folder
    )


def vectors(tower: BiEncoder, side: Any = "item") -> np.ndarray:
    return OnnxModel(tower.model_path(side)).run(tower.tokenize_items(list(tiny.TEXTS.values())))


def originals(folder: Path, task: str = "document") -> np.ndarray:
    model = SentenceTransformer(str(folder / "checkpoint"), device="cpu")
    return model.encode(list(tiny.TEXTS.values()), task=task, normalize_embeddings=True)


def test_mini_batches_learn_what_the_whole_batch_does(base: str, tmp_path: Path) -> None:
    losses = [trained(base, tmp_path / str(size), mini_batch=size, dropout=0.0)[0]["loss"] for size in (None, 4)]
    result, expected = ([entry["loss"] for entry in part] for part in losses)
    assert result == pytest.approx(expected, rel=2e-3)


def test_mined_negatives_are_learned_from(base: str, tmp_path: Path) -> None:
    table = tiny.judgments()
    judgments = table.filter(pc.greater(table["grade"], 0))  # without poor ones, any product would do
    mined = {query: ["lamp-grey"] for query in judgments["query"].unique().to_pylist() if "tarn" not in query}
    losses = []
    for name, negatives in (("without", {}), ("with", mined)):
        report = train_encoder(
            replace(Examples.split(tiny.TEXTS, judgments), negatives=negatives),
            tmp_path / name,
            settings(base),
        )
        losses.append(report["loss"])
    assert losses[0] != losses[1]


def test_towers_are_validated_among_what_was_found_and_nobody_judged(base: str, tmp_path: Path) -> None:
    given = settings(base, distractors=0, validation_products=4, validation_pairs=8, max_steps=1)
    table = tiny.judgments()
    judged: dict[str, list[str]] = {}
    for query, product in zip(table["query"].to_pylist(), table["product_id"].to_pylist(), strict=True):
        judged.setdefault(query, []).append(product)
    examples = Examples.split(tiny.TEXTS, table)
    alone = train_encoder(examples, tmp_path / "alone", given)
    same = train_encoder(replace(examples, retrieved=judged), tmp_path / "same", given)
    everything = {query: list(tiny.TEXTS) for query in judged}
    among = train_encoder(replace(examples, retrieved=everything), tmp_path / "among", given)
    assert alone["data"]["valid_found"] == same["data"]["valid_found"] == 0 < among["data"]["valid_found"]
    assert alone["start"] == same["start"] > among["start"]


def test_frozen_words_keep_their_vectors(base: str, tmp_path: Path) -> None:
    name = "embeddings.word_embeddings.weight"
    before = load_file(Path(base) / "model.safetensors")[name]
    for frozen in (True, False):
        trained(base, tmp_path / str(frozen), freeze_embeddings=frozen)
        after = load_file(tmp_path / str(frozen) / "checkpoint" / "model.safetensors")[name]
        assert np.array_equal(before, after) == frozen


def test_adapters_are_merged_into_what_is_exported(base: str, tmp_path: Path) -> None:
    report, tower = trained(base, tmp_path, lora=2, max_steps=4, evaluations=2)
    plain = load_file(Path(base) / "model.safetensors")
    learned = load_file(tmp_path / "checkpoint" / "model.safetensors")
    assert learned.keys() == plain.keys()
    changed = {name for name, weight in learned.items() if not np.array_equal(weight, plain[name])}
    assert report["best_step"] > 0 and changed
    assert all("dense.weight" in name or ".self." in name for name in changed)
    assert (vectors(tower) * originals(tmp_path)).sum(axis=1).mean() > 0.98


@pytest.mark.parametrize(
    "given", [{"lora": 2}, {"graded": 0.5, "shared": False}, {"mini_batch": 2, "matryoshka": (8,)}]
)
def test_a_run_with_an_option_goes_on_to_the_same_towers(given: dict[str, Any], base: str, tmp_path: Path) -> None:
    wanted = settings(base, max_steps=6, evaluations=3, patience=9, **given)

    def interrupt(done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    for folder, report in (("cut", interrupt), ("whole", ignore)):
        with contextlib.suppress(KeyboardInterrupt):
            train_encoder(Examples.split(tiny.TEXTS, tiny.judgments()), tmp_path / folder, wanted, report=report)
    steps: list[int] = []
    train_encoder(
        Examples.split(tiny.TEXTS, tiny.judgments()),
        tmp_path / "cut",
        wanted,
        report=lambda done, _: steps.append(done),
    )
    assert steps == [5, 6]
    assert BiEncoder.open(tmp_path / "cut").digest == BiEncoder.open(tmp_path / "whole").digest
