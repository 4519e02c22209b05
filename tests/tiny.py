"""A base model of a few thousand weights, so that tests can afford to train it, and a shop to train it on."""

from pathlib import Path

import pyarrow as pa
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import BertProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from core.judgments import JUDGMENTS_SCHEMA

NAMES = ("kettle", "hammer", "sandals", "duvet")
COLOURS = ("red", "blue", "green")
TEXTS = {f"{name}-{colour}": f"{name.title()}, {colour}" for name in NAMES for colour in COLOURS}
DIMENSIONS = 32
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_WORDS = ("new", "cheap", "zorb", "quil", "plent", "brask", ",")


def write_base(folder: Path, seed: int = 0) -> str:
    """Writes a plain transformers folder with two layers of random weights; returns where it is."""
    torch.manual_seed(seed)
    words = {word: number for number, word in enumerate((*_SPECIAL, *NAMES, *COLOURS, *_WORDS))}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), _SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words), hidden_size=DIMENSIONS, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return str(folder)


def judgments() -> pa.Table:
    """Shoppers say zorb for kettle, and so on: what they mean has grade 2, another colour of it 1, the rest 0."""
    rows: list[tuple[str, str, float, str]] = []
    for split, way in (("train", "{} {}"), ("train", "cheap {} {}"), ("valid", "new {} {}")):
        for word, name in zip(_WORDS[2:6], NAMES, strict=True):
            for colour in COLOURS:
                query = way.format(word, colour)
                rows += [(query, product, _grade(product, name, colour), split) for product in TEXTS]
    return pa.table(list(map(list, zip(*rows, strict=True))), schema=JUDGMENTS_SCHEMA)


def _grade(product: str, name: str, colour: str) -> float:
    return float(product.startswith(name)) * (1 + product.endswith(colour))
