"""One logit a pair of heads of one and two logits; others are refused in a clear line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from architectures import write_cross_encoder, write_encoder, write_modular_ranker
from sentence_transformers import CrossEncoder
from torch import nn

from core.errors import ModelError
from ranker.train.export import load_ranker
from training.export import is_cross_encoder

PAIRS = [("steel kettle", "red mug"), ("lamp", "wool sock blue"), ("drill", "cordless drill")]


def predict(model: CrossEncoder) -> np.ndarray:
    return model.predict(PAIRS, activation_fn=nn.Identity(), show_progress_bar=False)


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "mpnet", "deberta-v2", "modernbert"])
def test_two_logits_become_their_difference(kind: str, tmp_path: Path) -> None:
    folder = write_cross_encoder(tmp_path / "base", kind, labels=2)
    both = predict(CrossEncoder(folder, device="cpu"))
    model = load_ranker(folder)
    np.testing.assert_allclose(predict(model), both[:, 1] - both[:, 0], atol=1e-5)
    assert model.num_labels == 1
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    np.testing.assert_allclose(predict(load_ranker(str(tmp_path / "saved"))), predict(model), atol=1e-6)


def test_modules_of_two_scores_too(tmp_path: Path) -> None:
    folder = write_modular_ranker(tmp_path, labels=2)
    both = predict(CrossEncoder(folder, device="cpu"))
    model = load_ranker(folder)
    np.testing.assert_allclose(predict(model), both[:, 1] - both[:, 0], atol=1e-5)
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    np.testing.assert_allclose(predict(load_ranker(str(tmp_path / "saved"))), predict(model), atol=1e-6)


def test_the_first_logit_answers_where_its_class_is_named_so(tmp_path: Path) -> None:
    folder = Path(write_cross_encoder(tmp_path, "bert", labels=2))
    config = json.loads((folder / "config.json").read_text())
    config["id2label"], config["label2id"] = {"0": "relevant", "1": "other"}, {"relevant": 0, "other": 1}
    (folder / "config.json").write_text(json.dumps(config))
    both = predict(CrossEncoder(str(folder), device="cpu"))
    np.testing.assert_allclose(predict(load_ranker(str(folder))), both[:, 0] - both[:, 1], atol=1e-5)


def test_one_logit_stays_as_it_is(tmp_path: Path) -> None:
    folder = write_cross_encoder(tmp_path, "xlm-roberta")
    np.testing.assert_allclose(predict(load_ranker(folder)), predict(CrossEncoder(folder, device="cpu")), atol=1e-6)


def test_a_plain_encoder_gets_a_head_of_one_logit(tmp_path: Path) -> None:
    model = load_ranker(write_encoder(tmp_path, "mpnet"))
    assert model.num_labels == 1 and predict(model).shape == (3,)


@pytest.mark.parametrize("modules", [False, True])
def test_more_logits_are_refused(modules: bool, tmp_path: Path) -> None:
    folder = write_modular_ranker(tmp_path, labels=3) if modules else write_cross_encoder(tmp_path, "bert", labels=3)
    with pytest.raises(ModelError, match=r"gives 3 logits a pair; choose a cross-encoder with one or two"):
        load_ranker(folder)


def test_what_is_a_cross_encoder_already(tmp_path: Path) -> None:
    assert is_cross_encoder(write_modular_ranker(tmp_path / "modular"))
    assert is_cross_encoder(write_cross_encoder(tmp_path / "plain", "mpnet", labels=2))
    assert not is_cross_encoder(write_encoder(tmp_path / "encoder", "mpnet"))


def test_a_model_that_generates_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2", "architectures": ["GPT2ForCausalLM"]}))
    with pytest.raises(ModelError, match="generates text"):
        load_ranker(str(tmp_path))


def test_it_is_loaded_in_single_precision(tmp_path: Path) -> None:
    model = load_ranker(write_cross_encoder(tmp_path, "modernbert", dtype=torch.bfloat16))
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
