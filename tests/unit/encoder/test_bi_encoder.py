"""The towers' folder: tokens, limits, prefixes, digest, and what it refuses."""

import json
from pathlib import Path

import pytest
from architectures import ARCHITECTURES
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import BertProcessing

from core.errors import ModelError
from encoder.bi_encoder import SPEC_FILE, BiEncoder

WORDS = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "steel": 4, "kettle": 5, "query": 6, "product": 7, ":": 8}


def write_towers(folder: Path, **spec: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.enable_padding(length=50)  # as many published tokenizers have it
    tokenizer.enable_truncation(5)
    tokenizer.save(str(folder / "tokenizer.json"))
    fields = {"dimensions": 4, "precision": "fp32", "base": "toy", **spec}
    (folder / SPEC_FILE).write_text(json.dumps(fields))
    for name in {fields.get("query_model", "model.onnx"), fields.get("item_model", "model.onnx")}:
        (folder / str(name)).write_bytes(b"weights")
    return folder


def test_tokens_carry_special_ones_and_no_padding(tmp_path: Path) -> None:
    tower = BiEncoder.open(write_towers(tmp_path))
    result = tower.tokenize_queries(["steel kettle", "", "kettle blue"])
    assert [tokens.tolist() for tokens in result] == [[1, 4, 5, 2], [1, 2], [1, 5, 3, 2]]
    assert {tokens.dtype.name for tokens in result} == {"int32"}


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "modernbert"])
def test_words_are_known_however_a_tokenizer_marks_where_they_begin(kind: str, tmp_path: Path) -> None:
    """The bytes' tokenizers learned `mug` after a space alone: no text begins with it."""
    folder = write_towers(tmp_path)
    tokenizer = ARCHITECTURES[kind].tokenizer(["steel mug", "wool mug", "steel sock"] * 9)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    tower = BiEncoder.open(folder)
    assert tower.is_word("mug") and tower.is_word("steel") and not tower.is_word("mgu")


def test_each_side_has_its_own_limit_and_prefix(tmp_path: Path) -> None:
    folder = write_towers(
        tmp_path, max_query_tokens=5, max_item_tokens=9, query_prefix="query: ", item_prefix="product: "
    )
    tower = BiEncoder.open(folder)
    text = "steel " * 20
    assert tower.tokenize_queries([text])[0].tolist() == [1, 6, 8, 4, 2]
    assert tower.tokenize_items([text])[0].tolist() == [1, 7, 8, 4, 4, 4, 4, 4, 2]


def test_sides_may_have_models_of_their_own(tmp_path: Path) -> None:
    tower = BiEncoder.open(write_towers(tmp_path, query_model="query.onnx", item_model="item.onnx"))
    assert tower.model_path("query").name == "query.onnx"
    assert tower.model_path("item").name == "item.onnx"
    assert [path.name for path in tower.files()] == [SPEC_FILE, "tokenizer.json", "query.onnx", "item.onnx"]


def test_the_digest_follows_what_is_in_the_files_and_not_where_they_are(tmp_path: Path) -> None:
    first, second = write_towers(tmp_path / "a"), write_towers(tmp_path / "b")
    (second / "report.json").write_text("{}")
    assert BiEncoder.open(first).digest == BiEncoder.open(second).digest
    (second / "model.onnx").write_bytes(b"other weights")
    assert BiEncoder.open(first).digest != BiEncoder.open(second).digest
    assert BiEncoder.open(write_towers(tmp_path / "c", max_item_tokens=64)).digest != BiEncoder.open(first).digest


@pytest.mark.parametrize("missing", [SPEC_FILE, "tokenizer.json", "model.onnx"])
def test_a_folder_that_lacks_a_file_is_refused(tmp_path: Path, missing: str) -> None:
    folder = write_towers(tmp_path)
    (folder / missing).unlink()
    with pytest.raises(ModelError, match=missing):
        BiEncoder.open(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "tower.json"),
        ('{"format": 2, "dimensions": 4, "precision": "x", "base": "y"}', "format"),
        ('{"dimensions": 4, "precision": "x", "base": "y", "item_model": "../secret"}', "item_model"),
        ('{"dimensions": 0, "precision": "x", "base": "y"}', "dimensions"),
    ],
)
def test_a_spec_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    folder = write_towers(tmp_path)
    (folder / SPEC_FILE).write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        BiEncoder.open(folder)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = write_towers(tmp_path)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="is not a tokenizer"):
        BiEncoder.open(folder)
