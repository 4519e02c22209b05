"""Writes a cross-encoder that needs no torch: int8 ONNX, tokenizer and spec."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from sentence_transformers import CrossEncoder
from torch import Tensor, nn

from core.errors import ModelError
from engine.folder import TOKENIZER_FILE
from engine.onnx.session import IDS, MASK, SEGMENTS, OnnxModel
from engine.protocol import Tokens
from ranker.ranker import SPEC_FILE, Ranker, RankerSpec
from ranker.train.head import has_match_head, load_match_model, match_model
from ranker.train.one_logit import classes, give_one_logit
from ranker.train.settings import Head
from training.bases import located
from training.card import prepare_card
from training.export import base_location, base_name, longest_input, quiet_libraries, split_samples, write_int8
from training.quantize import PRECISION

# The greatest mean difference of logits, as a share of their standard deviation, that still orders products alike.
GREATEST_DIFFERENCE = 0.25
GREATEST_HALF_DIFFERENCE = 0.02

_PAIRS = tuple(
    (query, product)
    for query in ("kettle", "waterproof boots for hiking", "gift for a gardener")
    for product in (
        "Stainless steel kettle 1.7 l. Kitchen > Kettles",
        "Women's waterproof hiking boots. Shoes. brown. 39",
        "Garden tool set with bag, 6 pieces. Garden",
        "USB-C cable 2 m. black",
    )
)


class PairModel(Protocol):
    """A runner of an exported model."""

    def run(self, tokens: Sequence[Tokens], segments: Sequence[Tokens] | None = None) -> np.ndarray:
        """Logits of shape (n,) of n pairs' token and segment ids, each of shape (t,)."""
        ...


class Logits(nn.Module):
    """Token ids, their mask and segments, each of shape (n, t), to logits, shape (n,), by the model's own modules."""

    def __init__(self, model: CrossEncoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> Tensor:
        kinds = {} if token_type_ids is None else {SEGMENTS: token_type_ids}
        return self.model({IDS: input_ids, MASK: attention_mask, **kinds})["scores"].squeeze(-1)


def load_ranker(base: str | None, seed: int = 0, head: Head = "pooler") -> CrossEncoder:
    """A cross-encoder's or a plain encoder's folder or hub id; None is the bundled encoder.

    A `pooler` head that it lacks is fresh; a `match` head (`ranker/train/head.py`) is, unless the folder was saved with
    one, which it keeps. Of a head of two logits it is their difference. Raises ModelError when there is no such model,
    it gives more logits a pair, reads a prompt, or nothing separates the two sides of its pairs for a `match` head.
    """
    base = located(base, "ranker")
    location = base_location(base)
    torch.manual_seed(seed)
    with quiet_libraries():
        try:
            model = _load(location, head).float()
        except ModelError:
            raise
        except Exception as error:  # the hub, transformers and torch each raise their own
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{location}: cannot be loaded as a cross-encoder: {reason}") from None
    if not hasattr(model.tokenizer, "backend_tokenizer"):
        raise ModelError(f"{location}: has no tokenizer.json; choose a base model with a fast tokenizer")
    if (model.prompts or {}).get(model.default_prompt_name or ""):
        raise ModelError(f"{location}: reads a prompt before each pair; choose a cross-encoder that reads none")
    prepare_card(model, base)
    return model


def _load(location: str, head: Head) -> CrossEncoder:
    # Saved in half precision, a model would train and be exported in it.
    options = {"attn_implementation": "eager", "dtype": torch.float32}
    if has_match_head(location):
        return load_match_model(location, options)
    if head == "match":
        return match_model(location, options)
    count = classes(location)
    labels = {} if count is None else {"num_labels": count}
    model = CrossEncoder(location, device="cpu", model_kwargs=options, **labels)
    give_one_logit(model, location)
    return model


def export_ranker(base: str | None, output: Path, pairs: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Writes a cross-encoder that needs no torch into `output`; see `load_ranker` for `base`.

    `pairs` are some queries and products it will read. Returns `{"difference", "correlation", "pairs"}`: the mean
    difference of int8 logits from the original's, as a share of their standard deviation, and Spearman's correlation
    of the two. Raises ModelError when int8 would order products otherwise.
    """
    base = located(base, "ranker")
    return export_model(load_ranker(base), base_name(base), output, pairs)


def export_model(model: CrossEncoder, name: str, output: Path, pairs: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Like `export_ranker`, of a model in memory whose base has this name."""
    write_model(model, name, output, pairs)
    return check_parity(model, Ranker.open(output), pairs)


def write_model(
    model: CrossEncoder,
    name: str,
    output: Path,
    pairs: Sequence[tuple[str, str]] = (),
    limits: dict[str, int] | None = None,
) -> None:
    """Writes a cross-encoder in memory; `name` is its base's, `limits` are token limits of the spec.

    Weights are rounded by half of the pairs.
    """
    output.mkdir(parents=True, exist_ok=True)
    spec = _spec(model, name, limits or {})
    example = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 0, 0]])
    inputs = {IDS: example, MASK: (example > 0).long()}
    if reads_segments(model):
        inputs[SEGMENTS] = torch.tensor([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0]])
    samples = split_samples(list(pairs) or list(_PAIRS))[0]
    with quiet_libraries():
        write_int8(Logits(model), inputs, output / spec.model, *_tokens(model, samples, spec))
    model.tokenizer.backend_tokenizer.save(str(output / TOKENIZER_FILE))
    write_spec(output, spec)


def reads_segments(model: CrossEncoder) -> bool:
    """Whether it tells the two sides of a pair by segment ids; many models have but one segment."""
    named = SEGMENTS in getattr(model.tokenizer, "model_input_names", [SEGMENTS])
    return named and (getattr(model.config, "type_vocab_size", None) or 1) > 1


def _spec(model: CrossEncoder, name: str, limits: dict[str, int]) -> RankerSpec:
    """Products are cut so short that the longest pair has no more tokens than the model has positions for."""
    spec = RankerSpec.model_validate({"precision": PRECISION, "base": name, **limits})
    room = longest_input(model) - model.tokenizer.num_special_tokens_to_add(pair=True) - spec.max_query_tokens
    if room < 1:
        raise ModelError(
            f"{name}: has no room for a product beside {spec.max_query_tokens} tokens of a query; cut these"
        )
    return spec.model_copy(update={"max_product_tokens": min(spec.max_product_tokens, room)})


def write_spec(folder: Path, spec: RankerSpec) -> None:
    """Writes the spec, which marks a folder as a cross-encoder."""
    (folder / SPEC_FILE).write_text(spec.model_dump_json(indent=2) + "\n")


def _tokens(
    model: CrossEncoder, pairs: Sequence[tuple[str, str]], spec: RankerSpec
) -> tuple[list[Tokens], list[Tokens]]:
    """Token and segment ids of each pair."""
    longest = min(spec.max_query_tokens + spec.max_product_tokens, longest_input(model))
    sides = [list(side) for side in zip(*pairs, strict=True)]
    encoded = model.tokenizer(*sides, truncation=True, max_length=longest, return_token_type_ids=True)
    tokens, segments = ([np.array(ids, np.int32) for ids in encoded[name]] for name in (IDS, SEGMENTS))
    return tokens, segments


def difference(approximate: np.ndarray, exact: np.ndarray) -> float:
    """The mean difference of two models' logits of the same pairs, as a share of the second's standard deviation."""
    return float(np.abs(approximate - exact).mean() / max(np.std(exact), 1e-6))


def check_parity(model: CrossEncoder, ranker: Ranker, pairs: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """How close the int8 cross-encoder comes to the model on the other half of the pairs; see `export_ranker`.

    Raises ModelError when int8 would order products otherwise.
    """
    others = split_samples(list(pairs) or list(_PAIRS))[1]
    int8, exact = logits(model, ranker, OnnxModel(ranker.model_path), others)
    deviation = difference(int8, exact)
    if not deviation <= GREATEST_DIFFERENCE:
        raise ModelError(
            f"{ranker.folder}: int8 logits differ from the original's by {deviation:.2f} of their spread, over "
            f"{GREATEST_DIFFERENCE}; train it longer, as logits that hardly differ suffer most, or change the base"
        )
    ranks = np.array([np.argsort(np.argsort(values)) for values in (int8, exact)], float)
    return {"difference": deviation, "correlation": float(np.corrcoef(ranks)[0, 1]), "pairs": len(others)}


def logits(
    model: CrossEncoder, ranker: Ranker, exported: PairModel, pairs: Sequence[tuple[str, str]] = _PAIRS
) -> tuple[np.ndarray, np.ndarray]:
    """The logits of each pair, as exported and by the original, both of shape (pairs,)."""
    exact_model = Logits(model).eval()
    approximate, exact = [], []
    for tokens, segments in ranker.pack_pairs(pairs):
        approximate.append(float(exported.run([tokens], [segments])[0]))
        with torch.no_grad():
            ids = torch.from_numpy(tokens.astype(np.int64))[None]
            kinds = torch.from_numpy(segments.astype(np.int64))[None] if reads_segments(model) else None
            exact.append(float(exact_model(ids, torch.ones_like(ids), kinds)[0]))
    return np.array(approximate), np.array(exact)
