"""Models of a given shape with random weights, a tokenizer with as many words, and texts of them.

Speed does not hang on what the weights are. What they answer means nothing, so rows compare devices and precisions on
them, never relevance.
"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from benchmarks.gpu_rows.bench import Shape
from encoder.bi_encoder import SPEC_FILE as TOWER_FILE
from encoder.bi_encoder import BiEncoderSpec
from engine.folder import TOKENIZER_FILE
from engine.half import write_half
from ranker.ranker import SPEC_FILE as RANKER_FILE
from ranker.ranker import RankerSpec

_SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_EPSILON = 1e-12


def words_of(shape: Shape) -> list[str]:
    """As many words of letters as leave room for special tokens."""
    words: list[str] = []
    number = 0
    while len(words) < shape.words - len(_SPECIALS):
        number += 1
        left, word = number * 7 + 30, ""
        while left:
            left, letter = divmod(left, 26)
            word += _LETTERS[letter]
        words.append(word)
    return words


def texts_of(shape: Shape, count: int, lengths: tuple[int, int], seed: int = 0) -> list[str]:
    """Texts of so many words each, from the first length to the second; few words are frequent, most are rare."""
    random = np.random.default_rng(seed)
    words = words_of(shape)
    sizes = random.integers(lengths[0], lengths[1] + 1, count)
    picks = (len(words) * random.random(int(sizes.sum())) ** 3).astype(int)
    starts = np.concatenate(([0], np.cumsum(sizes)))
    return [" ".join([words[i] for i in picks[a:b]]) for a, b in pairwise(starts)]


def write_models(folder: Path, shape: Shape, item_tokens: int) -> tuple[Path, Path]:
    """Writes towers and a cross-encoder that only a GPU's engine can run; returns their folders."""
    encoder, ranker = folder / "encoder", folder / "ranker"
    spec = BiEncoderSpec(dimensions=shape.width, max_item_tokens=item_tokens, precision="fp16", base="random")
    _write(encoder, TOWER_FILE, spec.model_dump_json(), shape, "mean", shape.width)
    scorer = RankerSpec(max_product_tokens=item_tokens, precision="fp16", base="random")
    _write(ranker, RANKER_FILE, scorer.model_dump_json(), shape, "pooler", 1)
    return encoder, ranker


def _write(folder: Path, name: str, spec: str, shape: Shape, head: str, dimensions: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(spec)
    _tokenizer(shape).save(str(folder / TOKENIZER_FILE))
    model = folder / json.loads(spec).get("model", "model.onnx")
    model.write_bytes(b"random weights are in half precision alone")
    tensors = _tensors(shape, dimensions if head == "pooler" else None)
    write_half(model, tensors, heads=shape.heads, epsilon=_EPSILON, head=head, dimensions=dimensions)


def _tokenizer(shape: Shape) -> Tokenizer:
    vocabulary = {word: place for place, word in enumerate([*_SPECIALS, *words_of(shape)])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.post_processor = TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def _tensors(shape: Shape, classes: int | None) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    sizes = {"words": (shape.words, shape.width), "positions": (512, shape.width), "segments": (2, shape.width)}
    for layer in range(shape.layers):
        sizes[f"{layer}.qkv"] = (3 * shape.width, shape.width)
        sizes[f"{layer}.out"] = (shape.width, shape.width)
        sizes[f"{layer}.up"] = (shape.inner, shape.width)
        sizes[f"{layer}.down"] = (shape.width, shape.inner)
    if classes is not None:
        sizes |= {"pooler": (shape.width, shape.width), "classifier": (classes, shape.width)}
    tensors: dict[str, torch.Tensor] = {}
    for name, size in sizes.items():
        plain = name in ("words", "positions", "segments")
        # The usual start, but wider for what is looked up, so that texts differ.
        values = torch.randn(size, generator=random) * (0.3 if plain else 1.2 / size[1] ** 0.5)
        tensors |= {name: values} if plain else {f"{name}.weight": values, f"{name}.bias": torch.zeros(size[0])}
    norms = ["embedded", *(f"{layer}.{name}" for layer in range(shape.layers) for name in ("attended", "done"))]
    for name in norms:
        tensors |= {f"{name}.weight": torch.ones(shape.width), f"{name}.bias": torch.zeros(shape.width)}
    return tensors
