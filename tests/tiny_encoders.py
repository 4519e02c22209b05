"""Encoders of two layers and sixteen dimensions, made on the spot: what training does with them takes a blink."""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import BertProcessing, RobertaProcessing
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

WORDS = ["steel", "kettle", "garden", "hose", "red", "blue", "mug", "lamp", "wool", "sock"]
_SHAPE = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,  # wide, so that texts differ before any training
}


def tiny_bert(folder: Path) -> str:
    """Pairs are `[CLS] a [SEP] b [SEP]` with segments 0 and 1."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer = _tokenizer(specials)
    tokenizer.post_processor = BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(0)
    model = BertModel(BertConfig(vocab_size=len(specials) + len(WORDS), pad_token_id=0, **_SHAPE))
    return _save(folder, tokenizer, specials, model, ["input_ids", "token_type_ids", "attention_mask"])


def tiny_roberta(folder: Path) -> str:
    """Pairs are `<s> a </s></s> b </s>`, all of one segment."""
    specials = ["<pad>", "<unk>", "<s>", "</s>"]
    tokenizer = _tokenizer(specials)
    tokenizer.post_processor = RobertaProcessing(("</s>", 3), ("<s>", 2), add_prefix_space=False)
    torch.manual_seed(0)
    shape = _SHAPE | {"type_vocab_size": 1, "pad_token_id": 0}
    model = RobertaModel(RobertaConfig(vocab_size=len(specials) + len(WORDS), **shape))
    return _save(folder, tokenizer, specials, model, ["input_ids", "attention_mask"])


def _tokenizer(specials: list[str]) -> Tokenizer:
    words = {word: place for place, word in enumerate([*specials, *WORDS])}
    tokenizer = Tokenizer(WordLevel(words, unk_token=specials[1]))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


def _save(folder: Path, tokenizer: Tokenizer, specials: list[str], model: PreTrainedModel, inputs: list[str]) -> str:
    pad, unknown, start, end = specials
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, unk_token=unknown, cls_token=start, sep_token=end,
        model_max_length=48, model_input_names=inputs,
    )  # fmt: skip
    fast.save_pretrained(folder)
    model.save_pretrained(folder)
    return str(folder)
