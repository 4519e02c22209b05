"""The head that starts as a cosine: by hand, and from base to checkpoint to the exported model."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import rounded_by_texts
from tiny_encoders import tiny_bert, tiny_roberta
from torch import nn
from transformers import AutoTokenizer

from core.errors import ModelError
from engine.onnx.session import OnnxModel
from ranker.ranker import Ranker
from ranker.train.export import export_model, load_ranker
from ranker.train.head import MatchHead

PAIRS = [("steel kettle", "red steel kettle"), ("garden hose", "blue mug lamp"), ("sock", "wool sock red wool")]
BASES = pytest.mark.parametrize("base", [tiny_bert, tiny_roberta])
Base = Callable[[Path], str]

# One pair of two tokens a side and one of padding. The sides' means are (1, 1)/2 and (2, 0)/2: cosine 1/sqrt(2).
TOKENS = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0], [9.0, 9.0]]])
MASK = torch.tensor([[1, 1, 1, 1, 0]])


def features(**more: torch.Tensor) -> dict[str, torch.Tensor]:
    return {"token_embeddings": TOKENS, "attention_mask": MASK, **more}


def logits(model: nn.Module, pairs: list[tuple[str, str]] = PAIRS) -> np.ndarray:
    return model.predict(pairs, activation_fn=nn.Identity(), show_progress_bar=False)


def test_it_starts_as_the_cosine_of_the_two_sides() -> None:
    head = MatchHead(2).eval()
    head.bias.data.zero_()
    result = head(features(token_type_ids=torch.tensor([[0, 0, 1, 1, 0]])))["scores"]
    assert result.shape == (1, 1) and result.item() == pytest.approx(10 / math.sqrt(2), abs=1e-5)


def test_weights_first_token_and_bias_by_hand() -> None:
    head = MatchHead(2, scale=4.0).eval()
    head.weights.data = torch.tensor([0.5, 7.0])
    head.first.data = torch.tensor([3.0, 5.0])
    head.bias.data = torch.tensor(-1.0)
    result = head(features(token_type_ids=torch.tensor([[0, 0, 1, 1, 0]])))["scores"]
    assert result.item() == pytest.approx(4 * 0.5 / math.sqrt(2) + 3 - 1, abs=1e-5)  # 7 and 5 meet zeros


def test_the_first_separator_ends_the_query_where_there_are_no_segments() -> None:
    head = MatchHead(2, separator=3).eval()
    head.bias.data.zero_()
    ids = torch.tensor([[2, 3, 3, 3, 0]])
    by_segments = MatchHead(2).eval()
    by_segments.bias.data.zero_()
    expected = by_segments(features(token_type_ids=torch.tensor([[0, 0, 1, 1, 0]])))["scores"]
    assert torch.equal(head(features(input_ids=ids))["scores"], expected)


@BASES
def test_it_is_saved_and_loaded_without_pickle(base: Base, tmp_path: Path) -> None:
    model = load_ranker(base(tmp_path / "base"), head="match")
    with torch.no_grad():
        model[1].first += 0.3
    model.save_pretrained(str(tmp_path / "checkpoint"), create_model_card=False)
    assert sorted(path.name for path in (tmp_path / "checkpoint/1_MatchHead").iterdir()) == [
        "config.json",
        "model.safetensors",
    ]
    for head in ("match", "pooler"):  # what was saved with a head keeps it
        again = load_ranker(str(tmp_path / "checkpoint"), head=head)
        np.testing.assert_array_equal(logits(again), logits(model))
    assert again[1].separator == model[1].separator and again.num_labels == 1


@BASES
def test_the_exported_model_gives_its_logits(base: Base, tmp_path: Path) -> None:
    model = load_ranker(base(tmp_path / "base"), head="match")
    assert export_model(model, "tiny", tmp_path / "out", PAIRS)["difference"] < 0.25
    ranker = Ranker.open(tmp_path / "out")
    assert rounded_by_texts(ranker.model_path)
    products = ranker.tokenize_products([product for _, product in PAIRS])
    packed = [
        ranker.pack(ranker.tokenize_query(query), product) for (query, _), product in zip(PAIRS, products, strict=True)
    ]
    session = OnnxModel(ranker.model_path)
    together = session.run([tokens for tokens, _ in packed], [segments for _, segments in packed])
    alone = np.concatenate([session.run([tokens], [segments]) for tokens, segments in packed])
    assert together.shape == (3,)
    np.testing.assert_allclose(together, alone, atol=1e-4)  # padding is on no side
    np.testing.assert_allclose(together, logits(model), atol=0.6)


def test_a_match_head_is_put_on_the_encoder_of_a_cross_encoder(tmp_path: Path) -> None:
    load_ranker(tiny_bert(tmp_path / "base")).save_pretrained(str(tmp_path / "cross"), create_model_card=False)
    direct, through = (load_ranker(str(tmp_path / name), head="match") for name in ("base", "cross"))
    np.testing.assert_allclose(logits(direct), logits(through), atol=1e-5)


def test_a_folder_of_anothers_code_is_not_run(tmp_path: Path) -> None:
    load_ranker(tiny_bert(tmp_path / "base"), head="match").save_pretrained(str(tmp_path / "own"))
    path = tmp_path / "own/modules.json"
    path.write_text(json.dumps([{**entry, "type": "evil.Head"} for entry in json.loads(path.read_text())]))
    with pytest.raises(ModelError, match=r"evil\.Head"):
        load_ranker(str(tmp_path / "own"))


def test_a_base_whose_sides_cannot_be_told_apart_is_refused(tmp_path: Path) -> None:
    folder = tiny_roberta(tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.sep_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match="train with head 'pooler'"):
        load_ranker(folder, head="match")
