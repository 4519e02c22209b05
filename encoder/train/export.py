"""Writes a bi-encoder as towers: int8 ONNX, tokenizer and spec."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn

from core.errors import ModelError
from encoder.bi_encoder import SPEC_FILE, BiEncoder, BiEncoderSpec
from encoder.bundled import LEAST_PARITY, TEXTS
from encoder.train.load import Side, has_two_models, is_static, load_encoder, prefix_tokens, side_modules
from engine.folder import TOKENIZER_FILE
from engine.half import half_path
from engine.onnx.session import IDS, MASK, OnnxModel
from engine.protocol import Tokens
from training.bases import located
from training.export import base_name, longest_input, quiet_libraries, split_samples, write_fp32, write_int8
from training.quantize import PRECISION

LEAST_HALF_PARITY = 0.999
EXACT = "fp32"  # of static towers, which have no products of matrices to make int8

_TASKS = {"query": "query", "item": "document"}  # their names in sentence-transformers


class EmbeddingModel(Protocol):
    """A runner of an exported model."""

    def run(self, tokens: Sequence[Tokens]) -> NDArray[np.float32]:
        """Vectors of shape (n, d) of n sequences of shape (t,)."""
        ...


class PooledEncoder(nn.Module):
    """Token ids and their mask, both of shape (n, t), to unit vectors, shape (n, d), by the model's own modules.

    `side` matters where the model has one for each. A model cut to d dimensions gives the first ones.
    """

    def __init__(self, model: SentenceTransformer, side: Side = "item") -> None:
        super().__init__()
        self.model = model
        self.options = {"task": _TASKS[side]} if has_two_models(model) else {}
        self.static = nn.ModuleList(side_modules(model, side)) if is_static(model) else None

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        if self.static is None:
            vectors = self.model({IDS: input_ids, MASK: attention_mask}, **self.options)["sentence_embedding"]
        else:
            vectors = _static_mean(self.static, input_ids, attention_mask)
        if self.model.truncate_dim:
            vectors = vectors[:, : self.model.truncate_dim]
        return nn.functional.normalize(vectors, dim=-1)


def _static_mean(modules: nn.ModuleList, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean of the tokens' vectors, (n, d), which the library computes of one row of all texts, not of (n, t)."""
    shown = attention_mask[:, :, None].float()
    table: Any = modules[0]
    summed = (nn.functional.embedding(input_ids, table.embedding.weight) * shown).sum(1)
    features = {"sentence_embedding": summed / shown.sum(1).clamp(min=1.0)}
    for module in list(modules)[1:]:
        features = module(features)
    return features["sentence_embedding"]


def export_encoder(base: str | None, output: Path, texts: Sequence[str] = ()) -> dict[str, Any]:
    """Writes towers that need no torch into `output`; see `load_encoder` for `base`.

    `texts` are some of those the model will read. Returns `{"cosine_mean", "cosine_min", "texts"}`: how close int8
    comes to the original on them. Raises ModelError when their mean cosine is below 0.98.
    """
    base = located(base, "encoder")
    return export_model(load_encoder(base), base_name(base), output, texts)


def export_model(model: SentenceTransformer, name: str, output: Path, texts: Sequence[str] = ()) -> dict[str, Any]:
    """Like `export_encoder`, of a model in memory whose base has this name."""
    write_model(model, name, output, texts)
    return check_parity(model, BiEncoder.open(output), texts)


def write_model(
    model: SentenceTransformer, name: str, output: Path, texts: Sequence[str] = (), limits: dict[str, int] | None = None
) -> None:
    """Writes towers of a model in memory; `name` is its base's, `limits` are token limits of the spec.

    The prefixes are the model's prompts `query` and `document`; limits that are not given leave room for them. Weights
    are rounded by half of the texts; a static model, whose vectors are means of a table's rows, stays in fp32.
    """
    output.mkdir(parents=True, exist_ok=True)
    spec = _spec(model, name, limits or {})
    sides: dict[str, Side] = {spec.query_model: "query", spec.item_model: "item"}
    samples = [spec.item_prefix + text for text in split_samples(list(texts) or list(TEXTS))[0]]
    with quiet_libraries():
        for file, side in sides.items():
            pooled = PooledEncoder(model, side)
            if is_static(model):
                write_fp32(pooled, example_inputs(), output / file)
                half_path(output / file).unlink(missing_ok=True)  # of the previous model
            else:
                tokens = _tokens(model, samples, spec.max_item_tokens)
                write_int8(pooled, example_inputs(), output / file, tokens)
    (output / TOKENIZER_FILE).write_text(_tokenizer_json(model), "utf-8")
    (output / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")


def example_inputs() -> dict[str, Tensor]:
    """Inputs to trace a tower with: two sequences, one of them padded."""
    ids = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 0, 0]])
    return {IDS: ids, MASK: (ids > 0).long()}


def _spec(model: SentenceTransformer, name: str, limits: dict[str, int]) -> BiEncoderSpec:
    longest = min(model.max_seq_length or longest_input(model), longest_input(model))
    prompts = model.prompts or {}
    prefixes = {"query": prompts.get("query", ""), "item": prompts.get("document", "")}
    lengths: dict[str, Any] = {}
    for side, prefix in prefixes.items():
        key = f"max_{side}_tokens"
        usual: int = BiEncoderSpec.model_fields[key].default
        lengths[key] = min(limits.get(key, usual + prefix_tokens(model, prefix)), longest)
    query_file, item_file = ("query.onnx", "item.onnx") if has_two_models(model) else ("model.onnx", "model.onnx")
    return BiEncoderSpec(
        dimensions=model.get_embedding_dimension(),
        query_model=query_file,
        item_model=item_file,
        **lengths,
        query_prefix=prefixes["query"],
        item_prefix=prefixes["item"],
        precision=EXACT if is_static(model) else PRECISION,
        base=name,
    )


def _tokenizer_json(model: SentenceTransformer) -> str:
    """The tokenizer; without special tokens for a static model, which has no use for them."""
    if not is_static(model):
        return str(model.tokenizer.backend_tokenizer.to_str(pretty=True))
    return json.dumps(json.loads(model.tokenizer.to_str()) | {"post_processor": None}, ensure_ascii=False, indent=2)


def _tokens(model: SentenceTransformer, texts: Sequence[str], longest: int) -> list[Tokens]:
    ids = model.tokenizer(texts, truncation=True, max_length=longest)[IDS]
    return [np.array(sequence, np.int32) for sequence in ids]


def check_parity(model: SentenceTransformer, tower: BiEncoder, texts: Sequence[str] = ()) -> dict[str, Any]:
    """How close the int8 towers come to the model on the other half of the texts: `{"cosine_mean", "cosine_min",
    "texts"}`. Of one model for both sides its query file is read. Raises ModelError when the mean is below 0.98.
    """
    others = split_samples(list(texts) or list(TEXTS))[1]
    files: dict[Side, Path] = {"item": tower.model_path("query")}
    if has_two_models(model):
        files = {"query": tower.model_path("query"), "item": tower.model_path("item")}
    values = np.stack([cosines(model, tower, side, OnnxModel(path), others) for side, path in files.items()])
    if not (worst := values.mean(axis=1).min()) >= LEAST_PARITY:
        raise ModelError(
            f"{tower.folder}: int8 vectors have a mean cosine of {worst:.3f} with the original's, "
            f"under {LEAST_PARITY}; choose a base model that can be made int8"
        )
    return {"cosine_mean": float(values.mean()), "cosine_min": float(values.min()), "texts": len(others)}


def cosines(
    model: SentenceTransformer, tower: BiEncoder, side: Side, exported: EmbeddingModel, texts: Sequence[str] = TEXTS
) -> NDArray[np.float32]:
    """The cosines between one tower's exported and original vectors, shape (texts,)."""
    tokens = tower.tokenize_queries(list(texts)) if side == "query" else tower.tokenize_items(list(texts))
    int8 = np.concatenate([exported.run([sequence]) for sequence in tokens])
    pooled = PooledEncoder(model, side).eval()
    with torch.no_grad():
        ids = [torch.from_numpy(sequence.astype(np.int64))[None] for sequence in tokens]
        exact = torch.cat([pooled(entry, torch.ones_like(entry)) for entry in ids]).numpy()
    both: NDArray[np.float32] = (int8 * exact).sum(axis=1)
    return both
