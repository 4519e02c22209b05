"""Makes smaller towers from trained ones: pruned, then distilled to reproduce the teacher's vectors."""

import itertools
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from pydantic import Field, model_validator
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import EmbedDistillLoss
from torch import Tensor

from core.cores import available_cores
from core.digest import value_digest
from core.errors import ModelError
from core.formats import ENCODER
from core.progress import Report, ignore
from encoder.bi_encoder import SPEC_FILE, BiEncoder, BiEncoderSpec
from encoder.embed import embed_all
from encoder.train.export import check_parity, write_model
from encoder.train.finetune import SearchValidation, make_shelf, parity_texts, validate
from encoder.train.load import is_static, limit_length, load_encoder, prefix_tokens, set_prompts
from encoder.train.settings import EncoderTraining
from engine.folder import read_spec, read_tokenizer
from engine.onnx.session import OnnxModel, length_batches
from training.compress import (
    TEACHER,
    Distillation,
    compute_once,
    cut,
    remove_teacher_outputs,
    some_batches,
    teacher_checkpoint,
    untrained_curve,
)
from training.examples import Examples, sample_validation
from training.export import CHECKPOINT, quiet_libraries
from training.loop import evaluator, run_trainer, torch_threads, total_steps, trainer_arguments
from training.stages import CheckedModel, ExportedModel, FittedModel, ModelStages, Task, best_of, clear_output, train
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


@dataclass(frozen=True)
class DistillationTexts:
    """Queries and product texts, judged or not, whose teacher vectors a student learns.

    `teacher` is the output folder of a training; `examples` have the queries to validate on.
    """

    examples: Examples
    teacher: Path
    queries: Sequence[str]
    products: Sequence[str]


_Task = Task[DistillationTexts, EncoderDistillation]
_Fitted = FittedModel[DistillationTexts, EncoderDistillation, SentenceTransformer, SearchValidation]
_Exported = ExportedModel[DistillationTexts, EncoderDistillation, SentenceTransformer, SearchValidation, BiEncoder]


def distil_encoder(
    texts: DistillationTexts, output: Path, settings: EncoderDistillation, report: Report = ignore
) -> dict[str, Any]:
    """Prunes the teacher, trains the student on the teacher's vectors of the texts, and exports it to `output`.

    Cosine distance or mean squared error to the teacher's vectors (Kim et al. 2023, arXiv 2301.12005) keeps the
    student in the teacher's space. Validation and report are those of `train_encoder`. Returns the content of
    `report.json`. Raises ModelError for a folder without checkpoint, when there are no texts, or for a base of another
    width or tokenizer.
    """
    return train(DISTILLATION, Task(texts, settings, output), report)


def fit(task: _Task, report: Report) -> _Fitted:
    """Trains the student; returns it with the best weights. Raises ModelError."""
    material, examples, settings = task.examples, task.examples.examples, task.settings
    checkpoint, teacher = teacher_checkpoint(material.teacher, task.output), BiEncoder.open(material.teacher)
    sample = sample_validation(examples.valid, settings)
    whole = EncoderTraining(seed=settings.seed, distractors=settings.distractors)
    validation = SearchValidation(sample, make_shelf(sample, examples.texts, whole))
    inputs = _inputs(teacher, material, settings)

    def student() -> SentenceTransformer:
        built = build_student(checkpoint, settings, inputs, examples.texts)
        # It reads what the teacher reads, whatever another base was trained with.
        set_prompts(built, teacher.spec.query_prefix, teacher.spec.item_prefix)
        return built

    model = student()
    _check_base(model, teacher, settings)
    clear_output(task.output, SPEC_FILE)
    longest = model.max_seq_length
    items = None
    if settings.side == "query":
        tokens = teacher.tokenize_items(list(validation.shelf.values()))
        items = embed_all(OnnxModel(teacher.model_path("item")), tokens)

    def score(current: SentenceTransformer) -> float:
        return validate(current, validation, items)

    if settings.epochs:
        vectors = compute_teacher_vectors(teacher, material.queries, material.products, task.output, settings)
        limit_length(model, _longest(settings, model))
        trainer = _trainer(model, inputs, vectors, evaluator(score, sample), task.output, settings)
        curve = run_trainer(trainer, settings, report, teacher.digest)
        model = best_of(model, curve, student)
        model.max_seq_length = longest
    else:
        curve = untrained_curve(model, score(model))
    counts = {"texts": len(inputs), "valid_queries": len(sample), "valid_judgments": sum(map(len, sample.values()))}
    return FittedModel(task, model, curve, validation, counts)


def export(fitted: _Fitted) -> _Exported:
    """Writes the fp32 checkpoint and the int8 student, with the teacher's token limits.

    With side `query`, the teacher's item tower stands beside the student.
    """
    task, output = fitted.task, fitted.task.output
    teacher = BiEncoder.open(task.examples.teacher)
    fitted.model.save_pretrained(str(output / CHECKPOINT), create_model_card=False)
    limits = {name: getattr(teacher.spec, name) for name in ("max_query_tokens", "max_item_tokens")}
    texts = parity_texts(task.examples.examples.texts)
    write_model(fitted.model, teacher.spec.base, output, texts, limits)
    if task.settings.side == "query":
        spec = read_spec(output, SPEC_FILE, BiEncoderSpec, ENCODER)
        (output / spec.query_model).replace(output / QUERY_FILE)
        shutil.copyfile(teacher.model_path("item"), output / ITEM_FILE)
        spec = spec.model_copy(update={"query_model": QUERY_FILE, "item_model": ITEM_FILE})
        (output / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")
    return ExportedModel(fitted, BiEncoder.open(output))


def check(exported: _Exported) -> CheckedModel:
    """Compares the int8 student with the original. Raises ModelError where it is too far from it."""
    fitted, material = exported.fitted, exported.fitted.task.examples
    parity = check_parity(fitted.model, exported.artifact, parity_texts(material.examples.texts))
    remove_teacher_outputs(fitted.task.output)
    measures = {"parity": parity, "teacher": BiEncoder.open(material.teacher).digest}
    return CheckedModel(fitted, measures, material.examples.language)


DISTILLATION = ModelStages(fit, export, check)


def build_student(
    checkpoint: Path, settings: EncoderDistillation, examples: Sequence[str], texts: Mapping[str, str]
) -> SentenceTransformer:
    """The untrained student: the teacher's checkpoint, or `settings.base`, pruned as the settings specify.

    Neurons are chosen on some of the `examples`; a trimmed vocabulary is that of all of them and of `texts`.
    """
    model = load_encoder(settings.base or str(checkpoint))
    if is_static(model):
        raise ModelError(
            f"{settings.base or checkpoint}: is a table of vectors without layers; there is nothing to cut"
        )
    with quiet_libraries(), torch_threads(settings.threads):
        some = some_batches(examples, settings.seed)
        cut(model[0].auto_model, settings, lambda batch: model(model.preprocess(batch))["sentence_embedding"], some)
        if settings.trim_vocabulary:
            trim_vocabulary(model[0], itertools.chain(texts.values(), examples))
    return model


def compute_teacher_vectors(
    teacher: BiEncoder,
    queries: Sequence[str],
    products: Sequence[str],
    output: Path,
    settings: EncoderDistillation,
    report: Report = ignore,
) -> NDArray[np.float32]:
    """The exported teacher's vectors of the training texts, shape (n, d), cached below `output` until training ends.

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
    workers = settings.threads or available_cores()
    return compute_once(output / TEACHER / f"{key}.npy", shape, batches, compute, workers, report)


def _inputs(teacher: BiEncoder, material: DistillationTexts, settings: EncoderDistillation) -> list[str]:
    """The texts that the student reads, in the order of `compute_teacher_vectors`."""
    texts = [teacher.spec.query_prefix + query for query in material.queries]
    if settings.side == "both":
        texts += [teacher.spec.item_prefix + product for product in material.products]
    if not texts:
        raise ModelError("no text to learn from; give queries or product texts")
    return texts


def _check_base(model: SentenceTransformer, teacher: BiEncoder, settings: EncoderDistillation) -> None:
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


def _longest(settings: EncoderDistillation, model: SentenceTransformer) -> int:
    lengths = {"query": settings.query_tokens, "document": settings.product_tokens}
    read = ["query"] if settings.side == "query" else list(lengths)
    return max(lengths[name] + prefix_tokens(model, model.prompts[name]) for name in read)
