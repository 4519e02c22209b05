"""A head for a cross-encoder whose base is a bi-encoder: it starts as the cosine of the pair's two sides.

A classification head starts as noise, so that the similarity a bi-encoder models has to be learned again. Here the pair
is read jointly, and the last layer's tokens are averaged for each side apart, u for the query's, v for the product's,
as sentence-transformers' bi-encoders pool theirs (Reimers and Gurevych, "Sentence-BERT", EMNLP 2019):

    logit = scale * sum(weights * u/|u| * v/|v|) + sum(first * [CLS]) + bias

`weights` start at one and `first` at zero, so the first logit is scale * cosine(u, v) + bias.
"""

from pathlib import Path
from typing import Any, ClassVar

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Module, Transformer
from torch import Tensor, nn

from core.errors import ModelError
from engine.onnx.session import IDS, MASK, SEGMENTS

_MODULES = "modules.json"
_SCALE = 10.0
_USUAL_COSINE = 0.85  # of pairs that the bundled encoder reads jointly: its first logits lie about zero


class MatchHead(Module):
    """Compares the two sides of a pair. Special tokens count: one is `[CLS] query [SEP]`, the other `product [SEP]`.

    So no side is ever empty, and the bundled encoder was trained to average them as well. On 114 validation queries of
    Home Depot the untrained head orders about as well with them as without (pool nDCG@10 .911 and .914; towers .914).
    """

    config_keys: ClassVar[list[str]] = ["width", "separator", "scale", "dropout"]

    def __init__(self, width: int, separator: int | None = None, scale: float = _SCALE, dropout: float = 0.1) -> None:
        """`width` is that of the tokens; without segment ids, the first `separator` token ends the query's side."""
        super().__init__()
        self.width, self.separator, self.scale = width, separator, scale
        self.drop = nn.Dropout(dropout)
        # Sums of products, not a linear layer: they stay exact under bf16 arithmetic and in the int8 export.
        self.weights = nn.Parameter(torch.ones(width))
        self.first = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.tensor(-scale * _USUAL_COSINE))

    @property
    def dropout(self) -> float:
        """The share of the first token's values that training leaves out."""
        return self.drop.p

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Adds `scores`, shape (n, 1), to token embeddings of shape (n, t, d) and ids, mask and segments of (n, t)."""
        tokens = features["token_embeddings"].float()
        mask = features[MASK].float()
        product = self._product(features).float() * mask
        match = _mean(tokens, mask - product) * _mean(tokens, product)
        scores = self.scale * (match * self.weights).sum(-1) + (self.drop(tokens[:, 0]) * self.first).sum(-1)
        features["scores"] = (scores + self.bias)[:, None]
        return features

    def _product(self, features: dict[str, Any]) -> Tensor:
        """Where the product's side is, padding aside, shape (n, t)."""
        if self.separator is None:
            return features[SEGMENTS] > 0
        ends = (features[IDS] == self.separator).long()
        return ends.cumsum(1) > ends

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Writes the configuration as JSON and the weights as safetensors."""
        self.save_config(output_path)
        self.save_torch_weights(output_path)

    @classmethod
    def load(cls, model_name_or_path: str, subfolder: str = "", **_: Any) -> "MatchHead":
        """From a local folder. sentence-transformers reads its checkpoints by this while training."""
        head = cls(**cls.load_config(model_name_or_path, subfolder=subfolder, local_files_only=True))
        return cls.load_torch_weights(model_name_or_path, subfolder=subfolder, local_files_only=True, model=head)


def match_model(location: str, options: dict[str, Any]) -> CrossEncoder:
    """A cross-encoder with a new `MatchHead` on a folder's or hub id's encoder; a head that it has is left out.

    Raises ModelError when nothing separates the two sides of its pairs.
    """
    encoder = _encoder(location, options)
    width = encoder.get_embedding_dimension()
    return _joined(encoder, MatchHead(width, _separator(encoder), dropout=_dropout(encoder.config)))


def has_match_head(location: str) -> bool:
    """Whether a local folder was saved with a `MatchHead`."""
    path = Path(location) / _MODULES
    return path.is_file() and f"{MatchHead.__module__}.{MatchHead.__name__}" in path.read_text()


def load_match_model(folder: str, options: dict[str, Any]) -> CrossEncoder:
    """Such a folder, head and all.

    Put together here, since sentence-transformers loads classes of others only where it may run a folder's own code.
    """
    return _joined(_encoder(folder, options), MatchHead.load(folder, f"1_{MatchHead.__name__}"))


def _encoder(location: str, options: dict[str, Any]) -> Transformer:
    return Transformer(location, model_kwargs=options, config_kwargs={"num_labels": 1})


def _joined(encoder: Transformer, head: MatchHead) -> CrossEncoder:
    return CrossEncoder(modules=[encoder, head], device="cpu")


def _separator(encoder: Transformer) -> int | None:
    """None where segment ids separate the sides, else the token that ends the query."""
    kinds = encoder.tokenizer("a", "a").get(SEGMENTS, [])
    if (getattr(encoder.config, "type_vocab_size", None) or 1) > 1 and len(set(kinds)) > 1:
        return None
    if encoder.tokenizer.sep_token_id is None:
        raise ModelError("its tokenizer has neither segments nor a separator; train with head 'pooler'")
    return encoder.tokenizer.sep_token_id


def _dropout(config: Any) -> float:
    return float(getattr(config, "hidden_dropout_prob", 0.1))


def _mean(tokens: Tensor, share: Tensor) -> Tensor:
    """Unit vectors, shape (n, d), along the mean of the tokens that share is 1 of, not 0; shapes (n, t, d), (n, t)."""
    return nn.functional.normalize((tokens * share[:, :, None]).sum(1), dim=-1)
