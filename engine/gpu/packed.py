"""Runs a BERT tower or cross-encoder without padding: the tokens of a batch stand in one row, (tokens, width).

Attention is kept inside each sequence by the flash kernel for sequences of different lengths; everything else
ignores sequences. Products of matrices are in half precision, sums in them and the heads in single.

A sequence's result moves with its batch by the rounding of half precision alone, as the library takes other kernels
for other numbers of rows: by at most 2e-3 of a logit or a vector's coordinate (`tests/unit/engine/gpu`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.half import HalfSpec, read_half

# Tokens of one pass: the widest activations then take 0.4 GB at 1,536 wide.
MOST_TOKENS = 131_072

# Queries, keys and values, each (tokens, heads, width), and where sequences begin, to what attention makes of them.
Attend: TypeAlias = Callable[[Tensor, Tensor, Tensor, "Lengths"], Tensor]


class Lengths:
    """Where each of n sequences begins among the tokens, on the device (n + 1, int32), and their lengths, (n,)."""

    def __init__(self, lengths: NDArray[np.int64], device: torch.device) -> None:
        starts = np.concatenate(([0], np.cumsum(lengths)))
        self.longest = int(lengths.max())
        self.starts = _there(starts.astype(np.int32), device)
        self.lengths = _there(lengths, device)
        self.places = starts


class PackedModel:
    """A model on one device. One thread at a time."""

    def __init__(
        self,
        spec: HalfSpec,
        tensors: dict[str, Tensor],
        device: str = "cuda",
        dtype: torch.dtype = torch.float16,
        compiled: bool = False,
    ) -> None:
        """`compiled` has torch fuse what lies between the products; the first runs then take a minute or two."""
        self.spec = spec
        self.device = torch.device(device)
        self._tensors = {name: tensor.to(self.device, dtype) for name, tensor in tensors.items()}
        self._layers = sum(name.endswith(".qkv.weight") for name in tensors)
        flash = self.device.type == "cuda" and dtype != torch.float32  # for which it has no kernel
        self._attend: Attend = _flash if flash else _padded
        self._encode: Callable[[Tensor, Lengths], Tensor] = self._encoded
        if compiled:
            self._encode = torch.compile(self._encoded, dynamic=True)

    @classmethod
    def open(cls, model: Path, device: str = "cuda", dtype: torch.dtype = torch.float16) -> "PackedModel":
        """The half-precision weights beside an ONNX file. Raises ModelError when there are none."""
        return cls(*read_half(model), device, dtype)

    def run(
        self, tokens: Sequence[NDArray[np.int32]], segments: Sequence[NDArray[np.int32]] | None = None
    ) -> NDArray[np.float32]:
        """As `OnnxModel.run`: n sequences of shape (t,) give float32 of shape (n, d), or (n,) logits."""
        if not tokens:
            shape = (0, self.spec.dimensions) if self.spec.head in ("mean", "cls") else (0,)
            return np.zeros(shape, np.float32)
        with torch.inference_mode():
            # All parts are begun before one is waited for.
            return torch.cat([self._part(tokens, segments, part) for part in _parts(tokens)]).cpu().numpy()

    def _part(
        self, tokens: Sequence[NDArray[np.int32]], segments: Sequence[NDArray[np.int32]] | None, part: slice
    ) -> Tensor:
        lengths = Lengths(np.fromiter(map(len, tokens[part]), np.int64), self.device)
        ids = np.concatenate(tokens[part])
        kinds = np.zeros_like(ids) if segments is None else np.concatenate(segments[part])
        places = np.arange(len(ids)) - np.repeat(lengths.places[:-1], np.diff(lengths.places))
        inputs = _there(np.stack([ids, kinds, places.astype(np.int32)]), self.device)
        return self._pooled(self._encode(inputs, lengths), inputs, lengths).float()

    def _encoded(self, inputs: Tensor, lengths: Lengths) -> Tensor:
        """The last layer's tokens, (t, width), of ids, segments and positions, (3, t)."""
        weights = self._tensors
        names = ("words", "segments", "positions")
        words, segments, positions = (F.embedding(ids, weights[name]) for ids, name in zip(inputs, names, strict=True))
        tokens = words + positions + segments
        tokens = self._normal(tokens, "embedded")
        for layer in range(self._layers):
            tokens = self._layer(tokens, layer, lengths)
        return tokens

    def _layer(self, tokens: Tensor, layer: int, lengths: Lengths) -> Tensor:
        query, key, value = self._linear(tokens, f"{layer}.qkv").unflatten(1, (3, self.spec.heads, -1)).unbind(1)
        attended = self._attend(query, key, value, lengths).flatten(1)
        tokens = self._normal(tokens + self._linear(attended, f"{layer}.out"), f"{layer}.attended")
        wide = F.gelu(self._linear(tokens, f"{layer}.up"))
        return self._normal(tokens + self._linear(wide, f"{layer}.down"), f"{layer}.done")

    def _pooled(self, tokens: Tensor, inputs: Tensor, lengths: Lengths) -> Tensor:
        weights, spec = self._tensors, self.spec
        first = tokens[lengths.starts[:-1]]
        if spec.head == "mean":
            return F.normalize(_sums(tokens.float(), lengths)[:, : spec.dimensions], dim=-1)
        if spec.head == "cls":
            return F.normalize(first.float()[:, : spec.dimensions], dim=-1)
        if spec.head == "pooler":
            return self._linear(torch.tanh(self._linear(first, "pooler")), "classifier")[:, 0]
        product = self._product(inputs, lengths)[:, None]
        exact = tokens.float()
        sides = [F.normalize(_sums(exact * share, lengths), dim=-1) for share in (~product, product)]
        match = (sides[0] * sides[1] * weights["match.weights"].float()).sum(-1)
        return (
            spec.scale * match
            + (first.float() * weights["match.first"].float()).sum(-1)
            + weights["match.bias"].float()
        )

    def _product(self, inputs: Tensor, lengths: Lengths) -> Tensor:
        """Which tokens are the product's, (t,)."""
        if self.spec.separator is None:
            return inputs[1] > 0
        ends = (inputs[0] == self.spec.separator).long()
        separators = ends.cumsum(0)
        starts = lengths.starts[:-1].long()
        before = torch.repeat_interleave((separators - ends)[starts], lengths.lengths)
        return separators - before > ends

    def _linear(self, tokens: Tensor, name: str) -> Tensor:
        return F.linear(tokens, self._tensors[f"{name}.weight"], self._tensors[f"{name}.bias"])

    def _normal(self, tokens: Tensor, name: str) -> Tensor:
        weights = self._tensors
        return F.layer_norm(
            tokens, tokens.shape[1:], weights[f"{name}.weight"], weights[f"{name}.bias"], self.spec.epsilon
        )


def _parts(tokens: Sequence[Any]) -> list[slice]:
    """Runs of sequences of at most `MOST_TOKENS` together."""
    parts, start, total = [], 0, 0
    for place, sequence in enumerate(tokens):
        if total + len(sequence) > MOST_TOKENS and place > start:
            parts.append(slice(start, place))
            start, total = place, 0
        total += len(sequence)
    return [*parts, slice(start, len(tokens))]


def _sums(values: Tensor, lengths: Lengths) -> Tensor:
    """The sum of each sequence's rows, (n, d), always in the same order."""
    return torch.segment_reduce(values, "sum", lengths=lengths.lengths, axis=0, unsafe=True)


def _flash(query: Tensor, key: Tensor, value: Tensor, lengths: Lengths) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    starts, longest = lengths.starts, lengths.longest
    attended: Any = varlen_attn(query, key, value, starts, starts, longest, longest)
    return attended


def _padded(query: Tensor, key: Tensor, value: Tensor, lengths: Lengths) -> Tensor:
    """The same with sequences padded to the longest, where there is no such kernel."""
    mask = torch.arange(lengths.longest, device=query.device) < lengths.lengths[:, None]

    def unpack(packed: Tensor) -> Tensor:
        rows = packed.new_zeros(*mask.shape, *packed.shape[1:])
        rows[mask] = packed
        return rows.transpose(1, 2)

    attended = F.scaled_dot_product_attention(unpack(query), unpack(key), unpack(value), attn_mask=mask[:, None, None])
    return attended.transpose(1, 2)[mask]


def _there(values: np.ndarray, device: torch.device) -> Tensor:
    """On the device, without waiting for what it is doing."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor
