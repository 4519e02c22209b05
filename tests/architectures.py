"""Models of other architectures than BERT, as their makers save them: two layers of random weights and a tokenizer.

Each has its kind's own special tokens, ids of padding and first positions, which is where a fault would hide.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling, StaticEmbedding
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    BertConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    ModernBertConfig,
    MPNetConfig,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

from training.export import quiet_libraries

WIDTH, LAYERS, NEURONS = 32, 2, 64
_SHAPE: dict[str, Any] = {
    "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": 2, "intermediate_size": NEURONS,
    "initializer_range": 0.2,  # wide, so that texts differ before any training
}  # fmt: skip
_BRACKETS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_ANGLES = ("<s>", "<pad>", "</s>", "<unk>")


@dataclass(frozen=True)
class Architecture:
    """A config of the architecture for a tokenizer of so many tokens, and what makes the tokenizer of texts."""

    tokenizer: Callable[[list[str]], PreTrainedTokenizerFast]
    config: Callable[[int], PreTrainedConfig]


def _wordpiece(texts: list[str], special: tuple[str, ...], inputs: list[str]) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=150, special_tokens=list(special)))
    return _fast(tokenizer, inputs)


def _bracketed(texts: list[str]) -> PreTrainedTokenizerFast:
    return _wordpiece(texts, _BRACKETS, ["input_ids", "token_type_ids", "attention_mask"])


def _without_segments(texts: list[str]) -> PreTrainedTokenizerFast:
    return _wordpiece(texts, _BRACKETS, ["input_ids", "attention_mask"])


def _mpnet(texts: list[str]) -> PreTrainedTokenizerFast:
    """WordPiece between RoBERTa's special tokens; `[UNK]` stands among the words."""
    return _wordpiece(texts, ("<s>", "<pad>", "</s>", "[UNK]"), ["input_ids", "attention_mask"])


def _bytes(texts: list[str], special: tuple[str, ...] = _ANGLES, before: int = 0) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=list(special) if not before else [],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    if before:  # as ModernBERT's, whose special tokens follow the words
        tokenizer.add_special_tokens(list(special))
    return _fast(tokenizer, ["input_ids", "attention_mask"])


def _modern(texts: list[str]) -> PreTrainedTokenizerFast:
    return _bytes(texts, ("[UNK]", "[CLS]", "[SEP]", "[PAD]"), before=1)


def _pieces(texts: list[str], special: tuple[str, ...], inputs: list[str]) -> PreTrainedTokenizerFast:
    """As SentencePiece's: words begin with a mark, and pieces have probabilities."""
    letters = sorted({letter for text in texts for letter in text if letter != " "})
    words = sorted({f"▁{word}" for text in texts for word in text.split()})
    pieces = [(piece, -3.0) for piece in words] + [(piece, -9.0) for piece in ["▁", *letters]]
    unknown = next(place for place, token in enumerate(special) if "unk" in token.lower())
    tokenizer = Tokenizer(models.Unigram([*((token, 0.0) for token in special), *pieces], unknown))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    return _fast(tokenizer, inputs)


def _xlmr(texts: list[str]) -> PreTrainedTokenizerFast:
    return _pieces(texts, _ANGLES, ["input_ids", "attention_mask"])


def _deberta(texts: list[str]) -> PreTrainedTokenizerFast:
    return _pieces(texts, ("[PAD]", "[CLS]", "[SEP]", "[UNK]"), ["input_ids", "token_type_ids", "attention_mask"])


def _fast(tokenizer: Tokenizer, inputs: list[str]) -> PreTrainedTokenizerFast:
    """With the special tokens that it has around one text and between two, as its kind puts them."""
    ids = {name: tokenizer.token_to_id(name) for name in ("[CLS]", "[SEP]", "<s>", "</s>")}
    if ids["[CLS]"] is not None:
        start, end, pad, unknown = "[CLS]", "[SEP]", "[PAD]", "[UNK]"
        pair = f"{start}:0 $A:0 {end}:0 $B:1 {end}:1"
    else:
        start, end, pad = "<s>", "</s>", "<pad>"
        unknown = "<unk>" if tokenizer.token_to_id("<unk>") is not None else "[UNK]"
        pair = f"{start} $A {end} {end} $B {end}"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", pair=pair, special_tokens=[(start, ids[start]), (end, ids[end])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, unk_token=unknown, cls_token=start, sep_token=end,
        model_max_length=48, model_input_names=inputs,
    )  # fmt: skip


def _angled(kind: type[PreTrainedConfig]) -> Callable[[int], PreTrainedConfig]:
    """Padding is token 1, and positions are counted from 2."""
    return lambda size: kind(
        vocab_size=size, type_vocab_size=1, bos_token_id=0, pad_token_id=1, eos_token_id=2,
        max_position_embeddings=50, **_SHAPE,
    )  # fmt: skip


ARCHITECTURES = {
    "bert": Architecture(_bracketed, lambda size: BertConfig(vocab_size=size, max_position_embeddings=48, **_SHAPE)),
    "electra": Architecture(
        _bracketed,
        lambda size: ElectraConfig(vocab_size=size, embedding_size=16, max_position_embeddings=48, **_SHAPE),
    ),
    "distilbert": Architecture(
        _without_segments,
        lambda size: DistilBertConfig(
            vocab_size=size,
            dim=WIDTH,
            n_layers=LAYERS,
            n_heads=2,
            hidden_dim=NEURONS,
            max_position_embeddings=48,
            initializer_range=0.2,
        ),
    ),
    "mpnet": Architecture(
        _mpnet, lambda size: MPNetConfig(vocab_size=size, pad_token_id=1, max_position_embeddings=50, **_SHAPE)
    ),
    "roberta": Architecture(_bytes, _angled(RobertaConfig)),
    "xlm-roberta": Architecture(_xlmr, _angled(XLMRobertaConfig)),
    "deberta-v2": Architecture(
        _deberta,
        lambda size: DebertaV2Config(
            vocab_size=size,
            type_vocab_size=0,
            relative_attention=True,
            position_buckets=8,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type=["p2c", "c2p"],
            position_biased_input=False,
            max_position_embeddings=48,
            pooler_hidden_size=WIDTH,
            **_SHAPE,
        ),
    ),
    "modernbert": Architecture(
        _modern,
        lambda size: ModernBertConfig(
            vocab_size=size,
            pad_token_id=size - 1,
            bos_token_id=size - 3,
            cls_token_id=size - 3,
            eos_token_id=size - 2,
            sep_token_id=size - 2,
            max_position_embeddings=48,
            local_attention=8,
            global_attn_every_n_layers=2,
            **_SHAPE,
        ),
    ),
}
WORDS = "steel kettle garden hose red blue mug lamp wool sock cordless drill waterproof boots stool wooden bamboo towel"
TEXTS = [f"{first} {second}" for first in WORDS.split() for second in WORDS.split() if first != second]


def write_encoder(folder: Path, kind: str, **more: Any) -> str:
    """A plain transformers folder of the architecture; `more` are its type of numbers and its texts."""
    return _write(folder, kind, AutoModel.from_config, **more)


def write_cross_encoder(folder: Path, kind: str, labels: int = 1, **more: Any) -> str:
    """The same with a head of so many logits; by wide weights they differ enough to survive int8."""

    def make(config: PreTrainedConfig) -> Any:
        config.num_labels = labels
        return AutoModelForSequenceClassification.from_config(config)

    return _write(folder, kind, make, **more)


def write_static(folder: Path) -> str:
    """A table of vectors as sentence-transformers saves it, whose tokenizer knows special tokens."""
    torch.manual_seed(0)
    tokenizer = _bracketed(TEXTS)
    table = StaticEmbedding(tokenizer, embedding_dim=WIDTH)
    SentenceTransformer(modules=[table], device="cpu").save_pretrained(str(folder), create_model_card=False)
    return str(folder)


def write_modular_ranker(folder: Path, kind: str = "modernbert", labels: int = 1) -> str:
    """A cross-encoder whose score is made by modules: the first token, a layer with GELU, and a last one."""
    layers = Transformer(write_encoder(folder / "encoder", kind))
    modules = [
        layers,
        Pooling(WIDTH, pooling_mode="cls"),
        Dense(WIDTH, 16, bias=False, activation_function=torch.nn.GELU()),
        LayerNorm(16),
        Dense(16, labels, activation_function=torch.nn.Identity(), module_output_name="scores"),
    ]
    model = CrossEncoder(modules=modules, device="cpu")
    model.save_pretrained(str(folder / "ranker"), create_model_card=False)
    return str(folder / "ranker")


def _write(
    folder: Path,
    kind: str,
    make: Callable[[PreTrainedConfig], Any],
    dtype: torch.dtype = torch.float32,
    texts: list[str] | None = None,
) -> str:
    architecture = ARCHITECTURES[kind]
    tokenizer = architecture.tokenizer(texts or TEXTS)
    torch.manual_seed(0)
    model = make(architecture.config(len(tokenizer))).to(dtype)
    with quiet_libraries():
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder)
    return str(folder)
