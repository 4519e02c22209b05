"""A base model of a few thousand weights, so that tests can afford to train it, and a shop to train it on."""

from pathlib import Path

import onnx
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from shops import write_rows
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import BertProcessing
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

from evaluation.judgments import JUDGMENTS_SCHEMA

# What shoppers say, and the product they mean.
WORDS = {
    "zorb": "kettle",
    "quil": "hammer",
    "plent": "sandals",
    "brask": "duvet",
    "fenno": "headphones",
    "gruta": "spade",
    "milvo": "mug",
    "tarn": "lamp",
    "osk": "drill",
    "wipp": "hose",
    "jund": "chair",
    "ferl": "towel",
}
NAMES = tuple(WORDS.values())
COLOURS = ("red", "blue", "green", "black", "white", "grey", "pink", "brown")
TEXTS = {f"{name}-{colour}": f"{name.title()}, {colour}" for name in NAMES for colour in COLOURS}
DIMENSIONS = 32
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_OTHERS = ("new", "cheap", ",", *WORDS)


def rounded_by_texts(model: Path) -> bool:
    """Whether an int8 file was made with texts known: its activations then have a scale of each channel."""
    return any(entry.name.endswith("/channels") for entry in onnx.load(str(model)).graph.initializer)


def write_base(folder: Path, seed: int = 0) -> str:
    """Writes a plain transformers folder with two layers of random weights; returns where it is."""
    torch.manual_seed(seed)
    words = {word: number for number, word in enumerate((*_SPECIAL, *NAMES, *COLOURS, *_OTHERS))}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), _SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **names).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words), hidden_size=DIMENSIONS, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64, initializer_range=0.2,  # else texts hardly differ
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return str(folder)


def write_ranker_base(folder: Path, best_last: bool = False) -> str:
    """The same with a head whose logits differ enough to survive int8; returns where it is.

    By chance its order of products is a good one: turned round (`best_last`), whatever it learns is better.
    """
    model = BertForSequenceClassification.from_pretrained(write_base(folder), num_labels=1)
    model.classifier.weight.data *= -5 if best_last else 5
    model.save_pretrained(folder)
    return str(folder)


def judgments() -> pa.Table:
    """What is meant has grade 2, another colour of it 1, and a few products besides 0."""
    rows: list[tuple[str, str, float, str]] = []
    for split, way in (("train", "{} {}"), ("train", "cheap {} {}"), ("valid", "new {} {}")):
        for place, (word, name) in enumerate(WORDS.items()):
            others = [f"{NAMES[place - 1]}-{colour}" for colour in COLOURS[:4]]
            for colour in COLOURS:
                query = way.format(word, colour)
                rows += [(query, f"{name}-{other}", 1.0 + (other == colour), split) for other in COLOURS]
                rows += [(query, other, 0.0, split) for other in others]
    return pa.table(list(map(list, zip(*rows, strict=True))), schema=JUDGMENTS_SCHEMA)


def write_shop(folder: Path) -> list[str]:
    """The same as files; returns the options of `tandem train` that name them."""
    catalog, judged = folder / "catalog.jsonl", folder / "judgments.parquet"
    write_rows(catalog, ({"id": product, "title": text} for product, text in TEXTS.items()))
    pq.write_table(judgments(), judged)
    return ["--catalog", str(catalog), "--judgments", str(judged)]
