"""Writes towers' weights in half precision, for a GPU."""

from pathlib import Path

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling

from core.errors import ModelError
from encoder.bi_encoder import BiEncoder
from encoder.train.export import LEAST_HALF_PARITY, cosines
from encoder.train.load import Side, load_encoder, side_modules
from engine.half import bert_tensors, write_half


def add_half(base: str | None, folder: Path) -> None:
    """Writes the weights beside the towers that were exported of this base into the folder; see `load_encoder`.

    Raises ModelError when the model is of a kind that has no way to run on a GPU, or is another in half precision.
    """
    from engine.gpu.packed import PackedModel

    tower = BiEncoder.open(folder)
    model = load_encoder(base)
    sides: dict[Path, Side] = {tower.model_path("query"): "query", tower.model_path("item"): "item"}
    for path, side in sides.items():
        _write(model, side, tower, path)
        similarities = cosines(model, tower, side, PackedModel.open(path, "cpu"))
        parity = similarities.mean()
        if not parity >= LEAST_HALF_PARITY:
            raise ModelError(
                f"{folder}: half-precision vectors have a mean cosine of {parity:.4f} with the original's, "
                f"under {LEAST_HALF_PARITY}; serve it with --device cpu"
            )


def _write(model: SentenceTransformer, side: Side, tower: BiEncoder, path: Path) -> None:
    transformer, *others = side_modules(model, side)
    pooling, *rest = others or [None]
    kind = getattr(pooling, "pooling_mode", None)
    if (
        not isinstance(pooling, Pooling)
        or kind not in ("mean", "cls")
        or any(not isinstance(module, Normalize) for module in rest)
    ):
        raise ModelError(f"{tower.folder}: only towers that take the mean or the first token run on a GPU")
    config = transformer.model.config
    write_half(
        path, bert_tensors(transformer.model), heads=config.num_attention_heads, epsilon=config.layer_norm_eps,
        head=kind, dimensions=tower.spec.dimensions,
    )  # fmt: skip
