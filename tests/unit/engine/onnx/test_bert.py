"""Encoders written from their weights alone, against what torch computes with them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiny_encoders
import torch
from transformers import BertModel

from core.errors import ModelError
from engine.onnx.bert import write_bert
from engine.onnx.session import OnnxModel


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(tiny_encoders.tiny_bert(tmp_path_factory.mktemp("bert")))


def test_vectors_are_those_of_torch_whatever_the_padding(folder: Path, tmp_path: Path) -> None:
    assert write_bert(folder, tmp_path / "model.onnx") == 16
    tokens = [np.array(ids, np.int32) for ids in ([2, 5, 7, 3], [2, 9, 3], [2, 4, 6, 8, 10, 11, 3])]
    result = OnnxModel(tmp_path / "model.onnx").run(tokens)
    model = BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    for vector, ids in zip(result, tokens, strict=True):
        with torch.no_grad():
            states = model(torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state
        mean = states[0].mean(0).numpy()
        np.testing.assert_allclose(vector, mean / np.linalg.norm(mean), atol=1e-5)


def test_other_models_are_left_to_torch(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"hidden_act": "relu"}))
    with pytest.raises(ModelError, match="a bert with relu is exported by torch alone"):
        write_bert(other, tmp_path / "model.onnx")
    with pytest.raises(ModelError, match="holds no encoder that can be exported: No such file"):
        write_bert(tmp_path, tmp_path / "model.onnx")
