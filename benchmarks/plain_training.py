"""The plain recipe, as a tutorial has it, for `benchmarks.quality` to hold ours against.

    python -m benchmarks.plain_training --data FOLDER --output FOLDER [--towers-only | --ranker-only]
    python -m benchmarks.quality --data FOLDER --models plain=FOLDER --models ours=FOLDER

Towers: multiple negatives ranking loss on Home Depot's training pairs of grade 2.5 or more, one epoch, batch 64.
Cross-encoder: binary cross-entropy on (grade - 1) / 2 of 40,000 training pairs, one epoch, batch 32. Both by
sentence-transformers' trainers with a learning rate of 2e-5 and a tenth of the steps to warm up, no validation.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import (
    CrossEncoderTrainer,
    CrossEncoderTrainingArguments,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.training_args import BatchSamplers

from core.progress import Silent
from encoder.train.export import export_model as export_towers
from encoder.train.export import load_encoder
from lifecycle.training.data import Inputs, read_data
from ranker.train.export import export_model as export_ranker
from ranker.train.export import load_ranker

_PAIRS = 40_000
_GOOD = 2.5
_BATCH = {"towers": 64, "ranker": 32}


def main() -> None:
    """Trains the requested models and writes them, exported to int8, to `encoder` and `ranker` of the output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--threads", type=int)
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--towers-only", action="store_true")
    parts.add_argument("--ranker-only", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    folder = options.data / "home_depot"
    inputs = Inputs(folder / "products.parquet", None, folder / "judgments.parquet")
    shop = read_data(inputs, Silent())
    columns = (shop.judgments[name].to_pylist() for name in ("query", "product_id", "grade", "split"))
    rows = [
        (query, shop.texts[product], grade)
        for query, product, grade, split in zip(*columns, strict=True)
        if split == "train"
    ]
    if not options.ranker_only:
        train_towers([row for row in rows if row[2] >= _GOOD], options.output / "encoder")
    if not options.towers_only:
        places = np.random.default_rng(0).permutation(len(rows))[:_PAIRS]
        train_ranker([rows[place] for place in places], options.output / "ranker")


def train_towers(rows: list[tuple[str, str, float]], output: Path) -> None:
    """Trains on rows of a query, a text and a grade."""
    model = load_encoder(None)
    queries, products, _ = (list(column) for column in zip(*rows, strict=True))
    with tempfile.TemporaryDirectory() as scratch:
        arguments = SentenceTransformerTrainingArguments(
            **_arguments(scratch, _BATCH["towers"]), batch_sampler=BatchSamplers.NO_DUPLICATES
        )
        examples = Dataset.from_dict({"query": queries, "positive": products})
        trainer = SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=examples, loss=MultipleNegativesRankingLoss(model)
        )
        _train(trainer)
    export_towers(model, "all-MiniLM-L6-v2", output)


def train_ranker(rows: list[tuple[str, str, float]], output: Path) -> None:
    """Trains on rows of a query, a text and a grade."""
    model = load_ranker(None)
    queries, products, grades = (list(column) for column in zip(*rows, strict=True))
    with tempfile.TemporaryDirectory() as scratch:
        labels = [(grade - 1) / 2 for grade in grades]
        trainer = CrossEncoderTrainer(
            model=model,
            args=CrossEncoderTrainingArguments(**_arguments(scratch, _BATCH["ranker"])),
            train_dataset=Dataset.from_dict({"query": queries, "product": products, "label": labels}),
            loss=BinaryCrossEntropyLoss(model),
        )
        _train(trainer)
    export_ranker(model, "all-MiniLM-L6-v2", output)


def _train(trainer: SentenceTransformerTrainer) -> None:
    trainer.train()
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)  # its bf16 wrapper would be exported


def _arguments(scratch: str, batch: int) -> dict:
    return {
        "output_dir": scratch, "num_train_epochs": 1, "per_device_train_batch_size": batch, "learning_rate": 2e-5,
        "warmup_steps": 0.1, "save_strategy": "no", "report_to": "none", "use_cpu": True, "seed": 0,
        "bf16": bool(torch.cpu._is_avx512_bf16_supported()),
    }  # fmt: skip


if __name__ == "__main__":
    main()
