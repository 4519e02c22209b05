"""Fine-tuning of a tiny cross-encoder, with each head: it repeats itself, goes on after a cut, and exports."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from tiny_encoders import WORDS, tiny_bert

from core.progress import Report, ignore
from evaluation.judgments import JUDGMENTS_SCHEMA
from ranker.mix import UNMEASURED
from ranker.ranker import Ranker
from ranker.train.export import load_ranker
from ranker.train.finetune import train_ranker
from ranker.train.settings import RankerTraining
from training.examples import Examples

TEXTS = {f"{name}-{colour}": f"{colour} {name}" for name in WORDS[:4] for colour in WORDS[4:6]}
SMALL = {
    "max_steps": 4, "batch_size": 8, "query_tokens": 6, "product_tokens": 8, "learning_rate": 1e-3, "threads": 1,
    "evaluations": 2, "patience": 9,
}  # fmt: skip


def judgments() -> pa.Table:
    """Queries are two words of a product; it has grade 3, one of its words 1.5, and the rest 0."""
    rows = [
        (query, other, 1.5 * len({*query.split()} & {*text.split()}), split)
        for split, form in (("train", "{} {}"), ("valid", "{} {} lamp"))
        for query in (form.format(*reversed(name.split("-"))) for name in TEXTS)
        for other, text in TEXTS.items()
    ]
    return pa.table(list(map(list, zip(*rows, strict=True))), schema=JUDGMENTS_SCHEMA)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_bert(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(autouse=True)
def any_parity(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few steps teach a random model nothing that int8 would keep."""
    monkeypatch.setattr("ranker.train.export.GREATEST_DIFFERENCE", 9.0)


def trained(base: str, folder: Path, report: Report = ignore, **more: Any) -> dict[str, Any]:
    settings = RankerTraining(base=base, **{**SMALL, **more})
    return train_ranker(Examples.split(TEXTS, judgments()), folder, settings, report)


def weights(folder: Path) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in load_ranker(str(folder / "checkpoint")).state_dict().items()}


def cut_at(step: int) -> Report:
    def report(done: int, total: int | None) -> None:
        if done == step:
            raise KeyboardInterrupt

    return report


SORTS: Sequence[dict[str, Any]] = (
    {"head": "pooler"},
    {"head": "match", "loss": "listwise", "list_length": 4},
    {"loss": "pairwise", "list_length": 3, "bce_weight": 0.0},
)


@pytest.mark.parametrize("sort", SORTS, ids=str)
def test_a_training_that_was_cut_off_goes_on_to_the_same_ranker(sort: dict, base: str, tmp_path: Path) -> None:
    whole = trained(base, tmp_path / "whole", **sort)
    with pytest.raises(KeyboardInterrupt):
        trained(base, tmp_path / "cut", cut_at(3), **sort)
    steps: list[int] = []
    again = trained(base, tmp_path / "cut", lambda done, _: steps.append(done), **sort)
    assert steps == [3, 4] and again["validation"] == whole["validation"] and again["loss"] == whole["loss"]
    assert Ranker.open(tmp_path / "cut").digest == Ranker.open(tmp_path / "whole").digest
    ours, theirs = weights(tmp_path / "cut"), weights(tmp_path / "whole")
    card = (tmp_path / "whole/checkpoint/README.md").read_text("utf-8")
    assert f"{whole['data']['examples']:,} training samples" in card and not any(
        text in card for text in TEXTS.values()
    )
    assert ours.keys() == theirs.keys() and all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_mined_negatives_and_their_teacher_are_learned_from(base: str, tmp_path: Path) -> None:
    """One product that nobody judged is mined for every query."""
    table = judgments()
    negatives = {query: ["more"] for query in table["query"].unique().to_pylist()}
    texts = TEXTS | {"more": "wool sock"}
    settings = RankerTraining(base=base, **SMALL)
    plain, mined, soft = (
        train_ranker(replace(Examples.split(texts, table), **more), tmp_path, settings)
        for more in (
            {},
            {"negatives": negatives},
            {"negatives": negatives, "teacher": lambda queries, products: np.ones(len(queries), np.float32)},
        )
    )
    assert mined["data"]["pairs"] == soft["data"]["pairs"] == plain["data"]["pairs"] + plain["data"]["train_queries"]
    assert mined["loss"] != soft["loss"]


def shared_words(queries: Sequence[str], products: Sequence[str]) -> np.ndarray:
    """For towers that know what fits."""
    pairs = zip(queries, products, strict=True)
    return np.array([len({*query.split()} & {*text.split()}) for query, text in pairs], np.float32)


def test_the_report_tells_what_the_probabilities_are_worth(base: str, tmp_path: Path) -> None:
    table = judgments()
    few = pc.or_(pc.equal(table["split"], "train"), pc.greater(table["grade"], 0))  # so that others are unjudged
    settings = RankerTraining(base=base, **SMALL, calibration="isotonic")
    report = train_ranker(
        replace(Examples.split(TEXTS, table.filter(few)), similarity=shared_words), tmp_path, settings
    )
    result = report["calibration"]
    opened = Ranker.open(tmp_path)
    assert (
        [list(knot) for knot in opened.spec.knots] == result["knots"]
        and len(result["knots"]) >= 3
        and result["method"] == "isotonic"
    )
    assert result["held_out"].keys() == {"none", "platt", "isotonic"}
    assert sum(entry["pairs"] for entry in report["reliability"]["bins"]) == report["data"]["valid_judgments"]
    assert opened.cutoff == report["cutoff"]["value"] and report["cutoff"]["all"]["recall"] > 0.8
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["reliability"] == report["reliability"] and written["cutoff"] == report["cutoff"]


def test_the_match_head_learns_and_the_best_weights_are_kept(
    base: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = trained(base, tmp_path, head="match", dropout=0.0, max_steps=6, evaluations=3, learning_rate=5e-3)
    kept = load_ranker(str(tmp_path / "checkpoint"))
    assert kept[1].first.abs().sum() > 0 and not torch.equal(kept[1].weights, torch.ones(16))
    assert report["best"] == max(entry["ndcg@10"] for entry in report["validation"])
    assert "Could not load the best model" not in caplog.text  # which the trainer only tells


def test_what_learned_nothing_better_stays_what_it_was(base: str, tmp_path: Path) -> None:
    trained(base, tmp_path / "good", head="match", dropout=0.0, max_steps=6, evaluations=3, learning_rate=5e-3)
    good = str(tmp_path / "good" / "checkpoint")
    report = trained(good, tmp_path / "worse", head="match", dropout=0.0, learning_rate=0.5)
    assert report["best_step"] == 0 and report["best"] > report["validation"][-1]["ndcg@10"]
    before, after = weights(tmp_path / "good"), weights(tmp_path / "worse")
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_share_of_the_weights_before_is_kept(base: str, tmp_path: Path) -> None:
    trained(base, tmp_path / "all", head="match")
    trained(base, tmp_path / "half", head="match", keep=0.5)
    whole, half = weights(tmp_path / "all"), weights(tmp_path / "half")
    before = {name: value.numpy() for name, value in load_ranker(base, head="match").state_dict().items()}
    moved = max(whole, key=lambda name: float(np.abs(whole[name] - before[name]).max()))
    assert not np.array_equal(whole[moved], before[moved])
    np.testing.assert_allclose(half[moved], (before[moved] + whole[moved]) / 2, rtol=1e-5, atol=1e-6)


def test_what_is_served_decides_how_much_the_ranker_says(base: str, tmp_path: Path) -> None:
    """So few steps teach nothing: beside a retrieval that has the good products first it is left out."""
    valid = judgments().filter(pc.equal(judgments()["split"], "valid"))
    grades: dict[str, dict[str, float]] = {}
    for query, product, grade, _ in zip(*valid.to_pydict().values(), strict=True):
        grades.setdefault(query, {})[product] = grade
    more = {f"{query} {turn}": graded for query, graded in grades.items() for turn in range(3)}
    rows = [(query, name, grade, "valid") for query, graded in more.items() for name, grade in graded.items()]
    table = pa.concat_tables([judgments(), pa.table(list(map(list, zip(*rows, strict=True))), schema=JUDGMENTS_SCHEMA)])
    result = {query: sorted(graded, key=lambda name: -graded[name]) for query, graded in more.items()}
    settings = RankerTraining(base=base, **SMALL)
    report = train_ranker(replace(Examples.split(TEXTS, table), retrieved=result), tmp_path, settings)
    assert report["mix"]["queries"] == len(more) and report["mix"]["fused"] == pytest.approx(1)
    assert Ranker.open(tmp_path).mix == report["mix"]["share"] == 0
    unmeasured = train_ranker(Examples.split(TEXTS, table), tmp_path, settings)
    assert unmeasured["mix"]["queries"] == 0 and Ranker.open(tmp_path).mix == UNMEASURED
