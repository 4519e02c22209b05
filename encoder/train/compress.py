"""Makes smaller towers of trained ones: cut, then taught to embed as the whole ones do."""

import itertools
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from numpy.typing import NDArray
from pydantic import Field, model_validator
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss
from torch import Tensor

from core.digest import value_digest
from core.errors import ModelError
from core.formats import ENCODER
from core.progress import Report, ignore
from encoder.bi_encoder import SPEC_FILE, BiEncoder, BiEncoderSpec
from encoder.embed import embed_all
from encoder.train.export import export_model, load_encoder
from encoder.train.finetune import EncoderTraining, parity_texts, shelf_of, validate
from engine.folder import read_spec, read_tokenizer
from engine.onnx.session import OnnxModel, length_batches
from training.card import keep_card
from training.compress import (
    TEACHER,
    Distillation,
    clear_output,
    cut,
    forget,
    remembered,
    some_batches,
    teacher_checkpoint,
    untaught,
)
from training.export import CHECKPOINT, quiet_libraries
from training.loop import (
    evaluator,
    judged,
    run_trainer,
    torch_threads,
    total_steps,
    trainer_arguments,
    validation_sample,
    write_report,
)
from training.vocabulary import trim_vocabulary

QUERY_FILE, ITEM_FILE = "query.onnx", "item.onnx"


class EncoderDistillation(Distillation):
    """How to compress the towers. With side `query`, the teacher's item tower stays, and so does every vector of it."""

    side: Literal["both", "query"] = Field(
        default="both",
        description="Which towers to compress; with query, the teacher's item tower and its vectors stay.",
    )
    loss: Literal["cosine", "mse"] = Field(
        default="cosine",
        description="Distance to the teacher's vectors that is reduced: by cosine, or by squared differences (mse).",
    )
    distractors: int = Field(
        default=2000, ge=0, description="Products without a judgment that validation searches too."
    )

    @model_validator(mode="after")
    def _one_tokenizer(self) -> "EncoderDistillation":
        if self.side == "query" and self.trim_vocabulary:
            raise ValueError("the towers share a tokenizer: with side query its vocabulary must stay whole")
        return self


class _FromTeacher(EmbedDistillLoss):
    """The library's loss, with rows of `vectors`, shape (n, d), for labels: in the data set they would fill memory."""

    def __init__(self, model: SentenceTransformer, vectors: NDArray[np.float32], metric: str) -> None:
        super().__init__(model, distance_metric=metric)
        self._vectors = vectors

    def forward(self, sentence_features: Any, labels: Tensor) -> Tensor:
        return super().forward(
            sentence_features, torch.from_numpy(self._vectors[labels.cpu().numpy()]).to(labels.device)
        )


def distil_encoder(
    teacher: Path,
    queries: Sequence[str],
    products: Sequence[str],
    texts: Mapping[str, str],
    judgments: pa.Table,
    output: Path,
    settings: EncoderDistillation,
    report: Report = ignore,
    language: str | None = None,
) -> dict[str, Any]:
    """Cuts the towers that `teacher` holds, teaches them the teacher's vectors, and exports them to `output`.

    `teacher` is a folder that training left; `queries` and `products` are any texts of either kind, judged or not.
    Cosine distance or mean squared error to the teacher's vectors (Kim et al. 2023, arXiv 2301.12005) keeps the
    student in the teacher's space. Validation, on the valid split of `judgments`, and what is written are those of
    `train_encoder`. Returns what `report.json` says. Raises ModelError for a folder without checkpoint, when there are
    no texts, or for a base of another width or tokenizer.
    """
    began = time.monotonic()
    checkpoint, master = teacher_checkpoint(teacher, output), BiEncoder.open(teacher)
    sample = validation_sample(judged(judgments, texts, "valid"), settings)
    shelf = shelf_of(sample, texts, EncoderTraining(seed=settings.seed, distractors=settings.distractors))
    examples = _texts(master, queries, products, settings)
    model = student(checkpoint, settings, examples, texts)
    _check(model, master, settings)
    clear_output(output, SPEC_FILE)
    longest = model.max_seq_length
    with quiet_libraries(), torch_threads(settings.threads):
        items = None
        if settings.side == "query":
            items = embed_all(OnnxModel(master.model_path("item")), master.tokenize_items(list(shelf.values())))

        def score(current: SentenceTransformer) -> float:
            return validate(current, sample, shelf, items)

        if settings.epochs:
            vectors = teacher_vectors(master, queries, products, output, settings)
            model.max_seq_length = _longest(settings)
            trainer = _trainer(model, examples, vectors, evaluator(score, sample), output, settings)
            curve = run_trainer(trainer, settings, report, master.digest)
            if curve.best[0] == 0:
                taught, model = model, student(checkpoint, settings, examples, texts)  # nothing learned was better
                keep_card(taught, model)
            model.max_seq_length = longest
        else:
            curve = untaught(model, score(model))
        model.save_pretrained(str(output / CHECKPOINT), create_model_card=False)
        parity = _export(model, master, output, settings, parity_texts(texts))
    data = {"texts": len(examples), "valid_queries": len(sample), "valid_judgments": sum(map(len, sample.values()))}
    parts = {"data": data, "parity": parity, "teacher": master.digest, "seconds": round(time.monotonic() - began, 1)}
    made = write_report(output, settings, curve, parts, model, language)
    forget(output)
    return made


def student(
    checkpoint: Path, settings: EncoderDistillation, examples: Sequence[str], texts: Mapping[str, str]
) -> SentenceTransformer:
    """The untaught student: the teacher's checkpoint, or `settings.base`, cut as the settings say.

    Neurons are chosen on some of the `examples`; a trimmed vocabulary is that of all of them and of `texts`.
    """
    model = load_encoder(settings.base or str(checkpoint))
    with quiet_libraries(), torch_threads(settings.threads):
        some = some_batches(examples, settings.seed)
        cut(model[0].auto_model, settings, lambda batch: model(model.preprocess(batch))["sentence_embedding"], some)
        if settings.trim_vocabulary:
            trim_vocabulary(model[0], itertools.chain(texts.values(), examples))
    return model


def teacher_vectors(
    teacher: BiEncoder,
    queries: Sequence[str],
    products: Sequence[str],
    output: Path,
    settings: EncoderDistillation,
    report: Report = ignore,
) -> NDArray[np.float32]:
    """The exported teacher's vectors of the texts to learn from, shape (n, d), kept below `output` until that is done.

    First those of the queries, then, unless side is `query`, those of the products.
    """
    tokens = [*teacher.tokenize_queries(list(queries))]
    if settings.side == "both":
        tokens += teacher.tokenize_items(list(products))
    models = {side: OnnxModel(teacher.model_path(side)) for side in ("query", "item")}
    lengths = [len(sequence) for sequence in tokens]
    parts = {"query": (0, len(queries)), "item": (len(queries), len(tokens))}
    batches = [start + batch for start, stop in parts.values() for batch in length_batches(lengths[start:stop])]

    def compute(places: NDArray[np.int64]) -> NDArray[np.float32]:
        side = "query" if places[0] < len(queries) else "item"
        return models[side].run([tokens[place] for place in places])

    key = value_digest([teacher.digest, settings.side, list(queries), list(products)])
    shape = (len(tokens), teacher.spec.dimensions)
    workers = settings.threads or len(os.sched_getaffinity(0))
    return remembered(output / TEACHER / f"{key}.npy", shape, batches, compute, workers, report)


def _texts(
    teacher: BiEncoder, queries: Sequence[str], products: Sequence[str], settings: EncoderDistillation
) -> list[str]:
    """What the student reads, in the order of `teacher_vectors`."""
    texts = [teacher.spec.query_prefix + query for query in queries]
    if settings.side == "both":
        texts += [teacher.spec.item_prefix + product for product in products]
    if not texts:
        raise ModelError("no text to learn from; give queries or product texts")
    return texts


def _check(model: SentenceTransformer, teacher: BiEncoder, settings: EncoderDistillation) -> None:
    width = model.get_embedding_dimension()
    if width != teacher.spec.dimensions:
        raise ModelError(
            f"{settings.base}: makes vectors of {width} numbers, the teacher of {teacher.spec.dimensions}; "
            "choose a base of the same width, or none"
        )
    vocabulary = read_tokenizer(teacher.folder).get_vocab()
    if settings.side == "query" and model.tokenizer.backend_tokenizer.get_vocab() != vocabulary:
        raise ModelError(f"{settings.base}: reads other tokens than the teacher's item tower; choose side both")


def _trainer(
    model: SentenceTransformer,
    examples: Sequence[str],
    vectors: NDArray[np.float32],
    validation: Any,
    output: Path,
    settings: EncoderDistillation,
) -> SentenceTransformerTrainer:
    steps = total_steps(len(examples), settings)
    return SentenceTransformerTrainer(
        model=model,
        args=SentenceTransformerTrainingArguments(**trainer_arguments(settings, output, steps)),
        train_dataset=Dataset.from_dict({"text": examples, "label": range(len(examples))}),
        loss=_FromTeacher(model, vectors, settings.loss),
        evaluator=validation,
    )


def _longest(settings: EncoderDistillation) -> int:
    return settings.query_tokens if settings.side == "query" else max(settings.query_tokens, settings.product_tokens)


def _export(
    model: SentenceTransformer, teacher: BiEncoder, output: Path, settings: EncoderDistillation, texts: Sequence[str]
) -> dict[str, Any]:
    """Writes the towers with the teacher's limits; with side `query`, the teacher's item tower beside the student."""
    limits = {name: getattr(teacher.spec, name) for name in ("max_query_tokens", "max_item_tokens")}
    parity = export_model(model, teacher.spec.base, output, texts, limits)
    if settings.side == "query":
        spec = read_spec(output, SPEC_FILE, BiEncoderSpec, ENCODER)
        (output / spec.query_model).replace(output / QUERY_FILE)
        shutil.copyfile(teacher.model_path("item"), output / ITEM_FILE)
        spec = spec.model_copy(update={"query_model": QUERY_FILE, "item_model": ITEM_FILE})
        (output / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")
    return parity
