"""Our checkpoints as every peer can open them."""

import json
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.models import Normalize, Pooling, Transformer
from tiny_encoders import tiny_bert

from benchmarks.peers.weights import open_encoder, open_ranker
from core.errors import ModelError

TEXTS = ["steel kettle", "garden hose red blue mug lamp wool sock", "lamp"]


def write_spec(folder: Path, name: str, **fields: object) -> Path:
    (folder / name).write_text(json.dumps({"precision": "fp32", "base": "toy", **fields}))
    (folder / "model.onnx").write_bytes(b"never run here")
    (folder / "tokenizer.json").write_bytes((folder / "checkpoint" / "tokenizer.json").read_bytes())
    return folder


def encoder(folder: Path, pooling: str = "mean", **spec: object) -> Path:
    base = Transformer(tiny_bert(folder / "base"), max_seq_length=64)
    modules = [base, Pooling(base.get_embedding_dimension(), pooling_mode=pooling), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder / "checkpoint"))
    return write_spec(folder, "tower.json", dimensions=16, max_item_tokens=6, **spec)


@pytest.fixture
def ranker(tmp_path: Path) -> Path:
    model = CrossEncoder(tiny_bert(tmp_path / "base"), num_labels=1, device="cpu")
    model.save(str(tmp_path / "checkpoint"))
    return write_spec(tmp_path, "ranker.json", max_query_tokens=4, max_product_tokens=5)


def test_vectors_are_those_of_the_checkpoint_cut_at_our_length(tmp_path: Path) -> None:
    ours = encoder(tmp_path)
    expected = SentenceTransformer(str(ours / "checkpoint"), device="cpu")
    expected.max_seq_length = 6
    result = SentenceTransformer(str(open_encoder(ours, tmp_path / "opened")), device="cpu")
    np.testing.assert_allclose(result.encode(TEXTS), expected.encode(TEXTS), atol=1e-6)
    # [CLS], four words and [SEP]: the fifth word is not read, the fourth is.
    first, same, other = result.encode(["red blue mug lamp wool", "red blue mug lamp sock", "red blue mug wool lamp"])
    assert first @ same == pytest.approx(1, abs=1e-6) and first @ other < 0.999


def test_old_libraries_find_names_they_know(tmp_path: Path) -> None:
    opened = open_encoder(encoder(tmp_path), tmp_path / "opened")
    types = [module["type"] for module in json.loads((opened / "modules.json").read_text())]
    assert types == [f"sentence_transformers.models.{name}" for name in ("Transformer", "Pooling", "Normalize")]
    pooling = json.loads((opened / "1_Pooling" / "config.json").read_text())
    assert pooling == {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True}


def test_weights_are_the_same_file_and_the_checkpoint_stays(tmp_path: Path) -> None:
    ours = encoder(tmp_path)
    before = {path: path.read_bytes() for path in (ours / "checkpoint").rglob("*") if path.is_file()}
    opened = open_encoder(ours, tmp_path / "opened")
    open_encoder(ours, tmp_path / "opened")  # a second run over what the first left
    assert (opened / "model.safetensors").samefile(ours / "checkpoint" / "model.safetensors")
    assert before == {path: path.read_bytes() for path in (ours / "checkpoint").rglob("*") if path.is_file()}


def test_scores_are_those_of_the_checkpoint_cut_at_our_length(tmp_path: Path, ranker: Path) -> None:
    pairs = [("steel kettle", text) for text in TEXTS]
    result = CrossEncoder(str(open_ranker(ranker, tmp_path / "opened")), device="cpu")
    expected = CrossEncoder(str(ranker / "checkpoint"), device="cpu", max_length=4 + 5 + 3)
    np.testing.assert_allclose(result.predict(pairs), expected.predict(pairs), atol=1e-6)
    assert result.max_length == 12


def test_towers_that_peers_cannot_run_are_refused(tmp_path: Path) -> None:
    prefixed, cls = tmp_path / "prefixed", tmp_path / "cls"
    with pytest.raises(ModelError, match="without prefixes"):
        open_encoder(encoder(prefixed, query_prefix="query: "), tmp_path / "opened")
    with pytest.raises(ModelError, match="mean pooling"):
        open_encoder(encoder(cls, pooling="cls"), tmp_path / "opened")


def test_a_folder_without_fp32_weights_is_refused(tmp_path: Path) -> None:
    ours = encoder(tmp_path)
    (ours / "checkpoint" / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no checkpoint with fp32 weights"):
        open_encoder(ours, tmp_path / "opened")
