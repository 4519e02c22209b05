"""Models of a few thousand weights: towers and a cross-encoder of six BERT layers, exported as training does it."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pyarrow as pa
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
from transformers import BertConfig, BertForSequenceClassification, BertModel, BertTokenizer

from encoder.train.export import load_encoder
from encoder.train.export import write_model as write_towers_of
from evaluation.judgments import JUDGMENTS_SCHEMA
from ranker.train.export import load_ranker
from ranker.train.export import write_model as write_ranker_of
from training.export import quiet_libraries

COLOURS = ("red", "blue", "green", "black")
THINGS = ("kettle", "hammer", "sandals", "spade")
TEXTS = {f"{c}-{t}": f"{c} {t}" for c, t in product(COLOURS, THINGS)}
LAYERS = 6

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_PIECES = ("##s", "##tle", "ket", "unused", "words", "here")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_LETTERS, *(f"##{c}" for c in _LETTERS if c != "s"), *_PIECES]
WORDS += [*COLOURS, *THINGS, "cheap", "new"]


def write_base(folder: Path, kind: str = "ranker", seed: int = 0, hidden_size: int = 32) -> Path:
    """A transformers folder with random weights, large enough that different texts get different scores."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=hidden_size, num_hidden_layers=LAYERS, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=64, num_labels=1, initializer_range=0.2,
    )  # fmt: skip
    model = (BertForSequenceClassification if kind == "ranker" else BertModel)(config)
    with quiet_libraries():
        model.save_pretrained(folder)
        BertTokenizer(vocab={word: place for place, word in enumerate(WORDS)}).save_pretrained(folder)
    return folder


def write_ranker(folder: Path, seed: int = 0) -> Path:
    """A folder as `tandem train ranker` leaves it."""
    model: CrossEncoder = load_ranker(str(write_base(folder / "base", seed=seed)))
    with quiet_libraries():
        model.save_pretrained(str(folder / "checkpoint"), create_model_card=False)
    write_ranker_of(model, "tiny", folder, limits={"max_query_tokens": 8})
    return folder


def write_towers(folder: Path) -> Path:
    """A folder as `tandem train encoder` leaves it."""
    base = write_base(folder / "base", "encoder")
    with quiet_libraries():
        layers = Transformer(str(base))
        modules = [layers, Pooling(layers.get_embedding_dimension()), Normalize()]
        SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder / "checkpoint"))
    write_towers_of(load_encoder(str(folder / "checkpoint")), "tiny", folder, limits={"max_query_tokens": 8})
    return folder


def judgments(score: Callable[[str, str], float] | None = None) -> pa.Table:
    """Of each `new colour thing` and every product, graded by `score`, else by the words that both have."""
    rows = []
    for place, (colour, thing) in enumerate(product(COLOURS, THINGS)):
        query, split = f"new {colour} {thing}", "valid" if place % 3 == 0 else "train"
        grades = {name: score(query, text) if score else _shared(query, text) for name, text in TEXTS.items()}
        rows += [(query, name, grade, split) for name, grade in grades.items()]
    return pa.table(list(map(list, zip(*rows, strict=True))), schema=JUDGMENTS_SCHEMA)


def _shared(query: str, text: str) -> float:
    return float(len({*query.split()} & {*text.split()}))


def pairs() -> list[tuple[str, str]]:
    """Every colour and thing as a query, with every product text."""
    return [(f"{colour} {thing}", text) for colour, thing in product(COLOURS, THINGS) for text in TEXTS.values()]
