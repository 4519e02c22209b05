"""Towers taught by others: they stay in the teachers' space, alone on the query's side too, and go on when cut off."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from teachers import TEXTS, judgments, pairs, write_base, write_towers

from core.errors import ModelError
from encoder.bi_encoder import BiEncoder
from encoder.embed import embed_all
from encoder.train import compress
from encoder.train.compress import DistillationTexts, EncoderDistillation, build_student, distil_encoder
from encoder.train.export import load_encoder
from engine.onnx.session import OnnxModel
from training.examples import Examples

SMALL = {"layers": 3, "threads": 1, "evaluations": 2, "learning_rate": 2e-3, "query_tokens": 8, "product_tokens": 8}
QUERIES = [query for query, _ in pairs()[::16]] + [f"new {text}" for text in TEXTS.values()]
PRODUCTS = list(TEXTS.values())


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_towers(tmp_path_factory.mktemp("teacher"))


def distil(teacher: Path, output: Path, **settings: Any) -> dict[str, Any]:
    chosen = EncoderDistillation(**(SMALL | settings))
    return distil_encoder(material(teacher), output, chosen)


def material(teacher: Path, table: Any = None) -> DistillationTexts:
    return DistillationTexts(Examples.split(TEXTS, judgments() if table is None else table), teacher, QUERIES, PRODUCTS)


def judged_by(folder: Path) -> Any:
    """Judgments in the teacher's own order, so that validation tells how near the student is."""
    tower = BiEncoder.open(folder)
    model = OnnxModel(tower.model_path("query"))

    def score(query: str, text: str) -> float:
        both = model.run([*tower.tokenize_queries([query]), *tower.tokenize_items([text])])
        return float(both[0] @ both[1])

    return judgments(score)


def vectors(folder: Path, side: Any = "query") -> np.ndarray:
    tower = BiEncoder.open(folder)
    tokens = tower.tokenize_queries(QUERIES) if side == "query" else tower.tokenize_items(PRODUCTS)
    return embed_all(OnnxModel(tower.model_path(side)), tokens)


def closeness(a: np.ndarray, b: np.ndarray) -> float:
    return float((a * b).sum(axis=1).mean())


@pytest.mark.parametrize("loss", ["cosine", "mse"])
def test_the_student_comes_into_the_teachers_space(teacher: Path, tmp_path: Path, loss: Any) -> None:
    distil(teacher, tmp_path / "untaught", epochs=0)
    settings = EncoderDistillation(**SMALL, epochs=30, loss=loss)
    report = distil_encoder(material(teacher, judged_by(teacher)), tmp_path / "student", settings)
    assert report["data"]["texts"] == len(QUERIES) + len(PRODUCTS)
    for side in ("query", "item"):
        before, after = (closeness(vectors(teacher, side), vectors(tmp_path / name, side)) for name in
                         ("untaught", "student"))  # fmt: skip
        assert after > before + 0.1
    assert load_encoder(str(tmp_path / "student/checkpoint"))[0].auto_model.config.num_hidden_layers == 3
    spec, wanted = BiEncoder.open(tmp_path / "student").spec, BiEncoder.open(teacher).spec
    assert spec == wanted
    assert {path.name for path in (tmp_path / "student").iterdir()} & {"scratch", "teacher"} == set()


def test_a_query_tower_alone_searches_the_teachers_items(teacher: Path, tmp_path: Path) -> None:
    report = distil(teacher, tmp_path / "student", side="query", epochs=30)
    assert report["data"]["texts"] == len(QUERIES)
    tower, whole = BiEncoder.open(tmp_path / "student"), BiEncoder.open(teacher)
    assert tower.model_path("item").read_bytes() == whole.model_path("item").read_bytes()
    assert tower.model_path("query").read_bytes() != whole.model_path("query").read_bytes()
    assert {path.name for path in tower.files()} == {"tower.json", "tokenizer.json", "query.onnx", "item.onnx"}
    np.testing.assert_array_equal(vectors(tmp_path / "student", "item"), vectors(teacher, "item"))


def test_a_run_that_was_cut_off_goes_on_and_asks_the_teacher_nothing(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = EncoderDistillation(**SMALL, max_steps=8, epochs=20)
    distil_encoder(material(teacher), tmp_path / "whole", settings)

    def stop(done: int, total: int | None) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil_encoder(material(teacher), tmp_path / "cut", settings, report=stop)
    assert not (tmp_path / "cut/tower.json").exists()
    asked: list[int] = []
    steps: list[int] = []
    monkeypatch.setattr(compress.OnnxModel, "run", _counting(compress.OnnxModel.run, asked))
    distil_encoder(material(teacher), tmp_path / "cut", settings, report=lambda done, _: steps.append(done))
    assert steps == [5, 6, 7, 8] and max(asked) == 1  # parity asks for one text at a time
    np.testing.assert_array_equal(vectors(tmp_path / "cut"), vectors(tmp_path / "whole"))


def _counting(run: Any, asked: list[int]) -> Any:
    def counted(self: Any, tokens: Any, segments: Any = None) -> Any:
        asked.append(len(tokens))
        return run(self, tokens, segments)

    return counted


def test_a_student_may_be_cut_in_every_way_and_stay_untaught(teacher: Path, tmp_path: Path) -> None:
    distil(teacher, tmp_path / "student", layers=4, ffn_share=0.5, trim_vocabulary=True, epochs=0)
    model = load_encoder(str(tmp_path / "student/checkpoint"))
    config = model[0].auto_model.config
    assert (config.num_hidden_layers, config.intermediate_size) == (4, 32)
    assert config.vocab_size == len(model.tokenizer) < len(load_encoder(str(teacher / "checkpoint")).tokenizer)
    exact = model.encode(PRODUCTS, normalize_embeddings=True, show_progress_bar=False)
    assert closeness(vectors(tmp_path / "student", "item"), exact) > 0.99


def test_a_trimmed_vocabulary_alone_changes_no_vector(teacher: Path, tmp_path: Path) -> None:
    distil(teacher, tmp_path / "student", layers=None, trim_vocabulary=True, epochs=0)
    for side in ("query", "item"):
        same = (vectors(tmp_path / "student", side) * vectors(teacher, side)).sum(axis=1)
        assert same.min() > 0.99  # int8 weights are rounded by other texts
    sizes = [(folder / "model.onnx").stat().st_size for folder in (tmp_path / "student", teacher)]
    assert sizes[0] < sizes[1]


def test_what_cannot_teach_is_refused(teacher: Path, tmp_path: Path) -> None:
    settings = EncoderDistillation(**SMALL)
    with pytest.raises(ModelError, match="no text"):
        distil_encoder(replace(material(teacher), queries=[], products=[]), tmp_path / "student", settings)
    with pytest.raises(ValidationError, match="stay whole"):
        EncoderDistillation(side="query", trim_vocabulary=True)
    wide = str(write_base(tmp_path / "wide", "encoder", hidden_size=48))
    with pytest.raises(ModelError, match="48 numbers"):
        distil(teacher, tmp_path / "student", base=wide)
    assert build_student(teacher / "checkpoint", settings, QUERIES, TEXTS)[0].auto_model.config.num_hidden_layers == 3
