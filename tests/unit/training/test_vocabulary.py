"""A trimmed vocabulary: what is kept, and that texts of kept tokens are read and answered exactly as before."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from architectures import write_encoder
from sentence_transformers import CrossEncoder
from teachers import TEXTS, WORDS, pairs, write_base
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordPiece
from tokenizers.processors import BertProcessing, RobertaProcessing, Sequence
from transformers import PreTrainedTokenizerFast

from core.errors import ModelError
from encoder.train.load import load_encoder
from ranker.train.export import load_ranker
from training.export import quiet_libraries
from training.vocabulary import kept_tokens, trim_vocabulary, trimmed


@pytest.fixture
def model(tmp_path: Path) -> CrossEncoder:
    return load_ranker(str(write_base(tmp_path / "base")))


def trim(model: CrossEncoder, texts: Any) -> None:
    with quiet_libraries():
        trim_vocabulary(model[0], texts)


def scores(model: CrossEncoder) -> torch.Tensor:
    return model.predict(pairs(), activation_fn=torch.nn.Identity(), convert_to_tensor=True, show_progress_bar=False)


def test_scores_of_kept_tokens_are_the_same_to_the_bit(model: CrossEncoder, tmp_path: Path) -> None:
    before = scores(model)
    trim(model, (text for text in TEXTS.values()))
    assert model.model.config.vocab_size == len(model.tokenizer) < len(WORDS)
    assert torch.equal(scores(model), before)
    with quiet_libraries():
        model.save_pretrained(str(tmp_path / "trimmed"))
    again = load_ranker(str(tmp_path / "trimmed"))
    assert again.model.get_input_embeddings().weight.shape[0] == len(model.tokenizer)
    assert torch.equal(scores(again), before)


def test_any_text_is_still_read_and_unknown_letters_as_before(model: CrossEncoder) -> None:
    trim(model, ["red kettle"])
    tokenizer = model.tokenizer
    assert tokenizer.tokenize("red kettle hammer") == ["red", "kettle", "h", "##a", "##m", "##m", "##e", "##r"]
    assert tokenizer.tokenize("кот") == ["[UNK]"]
    assert tokenizer.convert_ids_to_tokens(tokenizer("red", "new")["input_ids"]) == (
        ["[CLS]", "red", "[SEP]", "n", "##e", "##w", "[SEP]"]
    )
    assert tokenizer.pad_token_id == model.model.config.pad_token_id == 0


def test_what_is_kept_by_hand() -> None:
    words = {"[UNK]": 0, "a": 1, "ab": 2, "##b": 3, "##bb": 4, "abb": 5, "[PAD]": 6}
    tokenizer = Tokenizer(WordPiece(words, unk_token="[UNK]"))
    tokenizer.add_special_tokens(["[PAD]"])
    tokenizer.enable_truncation(1)
    assert kept_tokens(tokenizer, ["abbb"]).tolist() == [0, 1, 3, 5, 6]
    assert kept_tokens(tokenizer, []).tolist() == [0, 1, 3, 6]


def test_ids_in_a_tokenizer_are_numbered_anew_wherever_they_stand() -> None:
    words = {"[PAD]": 0, "x": 1, "[SEP]": 2, "[CLS]": 3, "[UNK]": 4}
    tokenizer = Tokenizer(WordPiece(words, unk_token="[UNK]"))
    tokenizer.add_special_tokens(["[PAD]", "[SEP]", "[CLS]", "[UNK]"])
    tokenizer.post_processor = Sequence(
        [BertProcessing(("[SEP]", 2), ("[CLS]", 3)), RobertaProcessing(("[SEP]", 2), ("[CLS]", 3))]
    )
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    result = trimmed(json.loads(tokenizer.to_str()), np.array([0, 2, 3, 4]))
    assert result["model"]["vocab"] == {"[PAD]": 0, "[SEP]": 1, "[CLS]": 2, "[UNK]": 3}
    assert [entry["id"] for entry in result["added_tokens"]] == [0, 1, 2, 3]
    for processor in result["post_processor"]["processors"]:
        assert (processor["sep"], processor["cls"]) == (["[SEP]", 1], ["[CLS]", 2])
    assert Tokenizer.from_str(json.dumps(result)).token_to_id("[CLS]") == 2


def test_other_kinds_of_tokenizer_are_refused(model: CrossEncoder) -> None:
    model[0].processor = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(BPE({"a": 0}, [])))
    with pytest.raises(ModelError, match="BPE"):
        trim_vocabulary(model[0], ["a"])


@pytest.mark.parametrize("kind", ["xlm-roberta", "deberta-v2"])
def test_pieces_with_probabilities_are_trimmed_too(kind: str, tmp_path: Path) -> None:
    model = load_encoder(write_encoder(tmp_path / "base", kind))
    texts = ["steel kettle red", "garden hose"]
    before, unknown = model.encode(texts), model.tokenizer.tokenize("日")
    with quiet_libraries():
        trim_vocabulary(model[0], texts)
        model.save_pretrained(str(tmp_path / "trimmed"), create_model_card=False)
    again = load_encoder(str(tmp_path / "trimmed"))
    assert again.tokenizer.tokenize("kettle mug") == ["▁kettle", "▁", "m", "u", "g"]
    assert again.tokenizer.tokenize("日") == unknown
    assert len(again.tokenizer) == again[0].auto_model.config.vocab_size < 40
    np.testing.assert_array_equal(again.encode(texts), before)
