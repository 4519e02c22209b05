"""Writes a cross-encoder's weights in half precision, for a GPU."""

from pathlib import Path
from typing import Any

from sentence_transformers import CrossEncoder

from core.errors import ModelError
from engine.half import bert_tensors, write_half
from ranker.ranker import Ranker
from ranker.train.export import GREATEST_HALF_DIFFERENCE, difference, load_ranker, logits, reads_segments
from ranker.train.head import MatchHead


def add_half(base: str | None, folder: Path) -> None:
    """Writes the weights beside the cross-encoder that was exported of this base into the folder; see `load_ranker`.

    Raises ModelError when the model is of a kind that has no way to run on a GPU, or is another in half precision.
    """
    from engine.gpu.packed import PackedModel

    ranker = Ranker.open(folder)
    model = load_ranker(base)
    encoder, tensors, head = _parts(model)
    config = encoder.config
    tensors |= bert_tensors(encoder)
    if not reads_segments(model):  # all of its tokens are of the first
        tensors["segments"] = tensors["segments"][:1].expand_as(tensors["segments"])
    write_half(
        ranker.model_path, tensors, heads=config.num_attention_heads,
        epsilon=config.layer_norm_eps, dimensions=1, **head,
    )  # fmt: skip
    deviation = difference(*logits(model, ranker, PackedModel.open(ranker.model_path, "cpu")))
    if not deviation <= GREATEST_HALF_DIFFERENCE:
        raise ModelError(
            f"{folder}: half-precision logits differ from the original's by {deviation:.3f} of their spread, "
            f"over {GREATEST_HALF_DIFFERENCE}; serve it with --device cpu"
        )


def _parts(model: CrossEncoder) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The encoder, the head's weights, and the spec's fields of the head."""
    transformer, *rest = model.children()
    if rest and isinstance(rest[0], MatchHead):
        head = rest[0]
        tensors = {f"match.{name}": getattr(head, name) for name in ("weights", "first", "bias")}
        return transformer.model, tensors, {"head": "match", "separator": head.separator, "scale": head.scale}
    whole: Any = transformer.model
    if not hasattr(whole, "bert") or rest:
        raise ModelError("only BERT cross-encoders run on a GPU; serve it with --device cpu")
    parts = {"pooler": whole.bert.pooler.dense, "classifier": whole.classifier}
    tensors = {f"{name}.{kind}": getattr(part, kind) for name, part in parts.items() for kind in ("weight", "bias")}
    return whole.bert, tensors, {"head": "pooler"}
