"""The cross-encoder's folder: pairs packed as the tokenizer itself packs them, scores, and what it refuses."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import BPE, WordLevel
from tokenizers.pre_tokenizers import ByteLevel, Whitespace
from tokenizers.processors import BertProcessing, RobertaProcessing, TemplateProcessing

from core.errors import ModelError
from ranker.ranker import SPEC_FILE, PairTemplate, Ranker


def bert() -> Tokenizer:
    words = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "steel": 4, "kettle": 5, "a": 6}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return tokenizer


def roberta() -> Tokenizer:
    letters = sorted(ByteLevel.alphabet())
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, **{letter: i + 3 for i, letter in enumerate(letters)}}
    tokenizer = Tokenizer(BPE(vocabulary, []))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


TOKENIZERS = {"bert": bert(), "roberta": roberta()}


def write_ranker(folder: Path, tokenizer: Tokenizer, **spec: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / SPEC_FILE).write_text(json.dumps({"precision": "fp32", "base": "toy", **spec}))
    (folder / "model.onnx").write_bytes(b"weights")
    return folder


def test_bert_pairs_by_hand(tmp_path: Path) -> None:
    ranker = Ranker.open(write_ranker(tmp_path, bert()))
    [product] = ranker.tokenize_products(["steel kettle steel"])
    tokens, segments = ranker.pack(ranker.tokenize_query("kettle unknown"), product)
    assert tokens.tolist() == [1, 5, 3, 2, 4, 5, 4, 2]
    assert segments.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert tokens.dtype == segments.dtype == np.int32


@pytest.mark.parametrize("tokenizer", [bert, roberta])
def test_many_products_are_packed_as_one_by_one(tmp_path: Path, tokenizer: Callable[[], Tokenizer]) -> None:
    ranker = Ranker.open(write_ranker(tmp_path, tokenizer()))
    query = ranker.tokenize_query("kettle")
    products = ranker.tokenize_products(["steel kettle", "kettle", "", "steel kettle steel", "steel steel"])
    packed = ranker.pack_all(query, products)
    assert len(packed) == 5 and ranker.pack_all(query, []) == []
    for (tokens, segments), product in zip(packed, products, strict=True):
        expected_tokens, expected_segments = ranker.pack(query, product)
        assert tokens.tolist() == expected_tokens.tolist() and segments.tolist() == expected_segments.tolist()
        assert tokens.dtype == segments.dtype == np.int32


def test_roberta_pairs_have_two_separators(tmp_path: Path) -> None:
    ranker = Ranker.open(write_ranker(tmp_path, roberta()))
    query, [product] = ranker.tokenize_query("ab"), ranker.tokenize_products(["c"])
    tokens, segments = ranker.pack(query, product)
    assert tokens.tolist() == [0, *query, 2, 2, *product, 2]
    assert not segments.any()


def test_many_pairs_are_packed_as_each_alone_and_a_text_tokenised_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranker = Ranker.open(write_ranker(tmp_path, bert()))
    whole, asked = ranker.tokenize_products, list[str]()
    monkeypatch.setattr(ranker, "tokenize_products", lambda texts: asked.extend(texts) or whole(texts))
    packed = ranker.pack_pairs([("kettle", "steel"), ("steel", "kettle steel"), ("kettle", "kettle steel")])
    assert [tokens.tolist() for tokens, _ in packed] == [[1, 5, 2, 4, 2], [1, 4, 2, 5, 4, 2], [1, 5, 2, 5, 4, 2]]
    assert packed[0][1].tolist() == [0, 0, 0, 1, 1]
    assert asked == ["steel", "kettle steel"]


@pytest.mark.parametrize("name", TOKENIZERS)
@given(query=st.text(max_size=40), product=st.text(max_size=80))
def test_pairs_are_those_of_the_tokenizer(name: str, query: str, product: str) -> None:
    tokenizer = TOKENIZERS[name]
    sides = [np.array(tokenizer.encode(text, add_special_tokens=False).ids, np.int32) for text in (query, product)]
    tokens, segments = PairTemplate(tokenizer).join(*sides)
    expected = tokenizer.encode(query, product)
    assert tokens.tolist() == expected.ids
    assert segments.tolist() == expected.type_ids


def test_a_tokenizer_that_swaps_the_texts_is_refused() -> None:
    tokenizer = bert()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A", pair="[CLS] $B:1 [SEP] $A", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    with pytest.raises(ModelError, match="in order"):
        PairTemplate(tokenizer)


def test_each_text_is_cut_at_its_own_limit(tmp_path: Path) -> None:
    ranker = Ranker.open(write_ranker(tmp_path, bert(), max_query_tokens=3, max_product_tokens=5))
    assert ranker.tokenize_query("steel " * 9).tolist() == [4] * 3
    assert [len(tokens) for tokens in ranker.tokenize_products(["steel " * 9, "kettle", ""])] == [5, 1, 0]


def test_the_vocabulary_bounds_every_id(tmp_path: Path) -> None:
    assert Ranker.open(write_ranker(tmp_path, bert())).vocabulary_size == 7


def test_scores_are_calibrated_probabilities(tmp_path: Path) -> None:
    ranker = Ranker.open(write_ranker(tmp_path, bert(), slope=2.0, intercept=-1.0))
    logits = np.array([0.0, 0.5, 3.0, -1000.0, 1000.0], np.float32)
    result = ranker.scores(logits, np.full(5, 0.7, np.float32))
    expected = [1 / (1 + math.e), 0.5, 1 / (1 + math.exp(-5)), 0.0, 1.0]
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert result.dtype == np.float32


def test_scores_build_on_the_towers_similarity(tmp_path: Path) -> None:
    ranker = Ranker.open(write_ranker(tmp_path, bert(), slope=0.5, similarity=4.0, intercept=-2.0))
    result = ranker.scores(np.array([2.0, 2.0], np.float32), np.array([0.25, 0.5], np.float32))
    np.testing.assert_allclose(result, [0.5, 1 / (1 + math.exp(-1))], atol=1e-6)


def test_the_digest_follows_the_files(tmp_path: Path) -> None:
    first, second = write_ranker(tmp_path / "a", bert()), write_ranker(tmp_path / "b", bert())
    assert Ranker.open(first).digest == Ranker.open(second).digest
    (second / "model.onnx").write_bytes(b"other")
    assert Ranker.open(first).digest != Ranker.open(second).digest
    assert [path.name for path in Ranker.open(first).files()] == [SPEC_FILE, "tokenizer.json", "model.onnx"]


@pytest.mark.parametrize("missing", [SPEC_FILE, "tokenizer.json", "model.onnx"])
def test_a_folder_that_lacks_a_file_is_refused(tmp_path: Path, missing: str) -> None:
    folder = write_ranker(tmp_path, bert())
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=missing):
        Ranker.open(folder)


def test_a_slope_that_turns_the_order_round_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="slope"):
        Ranker.open(write_ranker(tmp_path, bert(), slope=-1.0))
