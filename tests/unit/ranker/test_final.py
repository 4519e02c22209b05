"""The final score: learned, written, read back, and explained."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from core.errors import MissingPackageError, ModelError
from ranker.final import PRERANK_TREES, SPEC_FILE, TREES, FinalScore, FinalSpec, tree_files
from ranker.train.final import FinalTraining, QueryTable, learn, write_final

FEATURES = {"good": 1, "bad": -1, "noise": 0}
SETTINGS = FinalTraining(least=5, rounds=30, patience=10, leaves=4, folds=3, threads=1)


def open_score(folder: Path) -> FinalScore:
    return FinalScore.open(folder, tuple(FEATURES))


def tables(queries: int = 40, candidates: int = 20, seed: int = 0) -> list[QueryTable]:
    """A candidate's gain rises with `good` less `bad`; noise says nothing."""
    random = np.random.default_rng(seed)
    made = []
    for _ in range(queries):
        rows = random.random((candidates, 3)).astype(np.float32)
        gains = np.floor(3 * np.clip(rows[:, 0] - rows[:, 1], 0, 1))
        made.append(QueryTable(rows, gains))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("final")
    learned = learn(tables(), FEATURES, SETTINGS)
    # The first trees learn the contrary, so that one sees which set spoke.
    contrary = learn([QueryTable(-t.features, t.gains) for t in tables()], FEATURES, SETTINGS)
    spec = FinalSpec(features=tuple(FEATURES), dense_weight=1, lexical_weight=0.5, encoder="e", ranker="r")
    write_final(folder, spec, contrary.trees, learned.trees)
    return folder


def test_good_candidates_come_first_on_queries_that_were_not_learned(folder: Path) -> None:
    score = open_score(folder)
    ranks = []
    for table in tables(seed=1):
        order = np.argsort(-score.scores(table.features, rescored=True))
        ranks.append(table.gains[order[:5]].mean() - table.gains.mean())
    assert np.mean(ranks) > 0.5


def test_each_table_is_scored_by_trees_that_did_not_see_its_query() -> None:
    # Gains without any rule: trees that saw a query could tell its good ones, those that did not cannot.
    random = np.random.default_rng(0)
    made = [QueryTable(t.features, random.permutation(t.gains)) for t in tables(queries=30)]
    settings = SETTINGS.model_copy(update={"rounds": 200, "patience": 200, "least": 1, "leaves": 31})
    learned = learn(made, dict.fromkeys(FEATURES, 0), settings)
    pairs = list(zip(made, learned.held_out(table.features for table in made), strict=True))
    held_out = np.mean([np.corrcoef(scores, table.gains)[0, 1] for table, scores in pairs])
    seen = np.mean([np.corrcoef(learned.trees.predict(table.features), table.gains)[0, 1] for table in made])
    assert abs(held_out) < 0.15 < seen


def test_more_of_a_good_thing_never_hurts(folder: Path) -> None:
    score = open_score(folder)
    rows = np.random.default_rng(2).random((200, 3)).astype(np.float32)
    better, worse = rows.copy(), rows.copy()
    better[:, 0] += 0.3
    worse[:, 1] += 0.3
    assert (score.scores(better, rescored=True) >= score.scores(rows, rescored=True)).all()
    assert (score.scores(worse, rescored=True) <= score.scores(rows, rescored=True)).all()


def test_missing_values_are_scored(folder: Path) -> None:
    rows = np.full((2, 3), np.nan, np.float32)
    assert np.isfinite(open_score(folder).scores(rows, rescored=True)).all()
    assert open_score(folder).scores(rows[:0], rescored=True).shape == (0,)


@pytest.fixture(scope="module", params=["values are missing", "none is missing"])
def coarse(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trees of tables whose values are few, some of them missing or none."""
    folder = tmp_path_factory.mktemp("coarse")
    made = []
    random = np.random.default_rng(3)
    for table in tables():
        rows = (np.round(8 * table.features) / 8 - 0.5).astype(np.float32)
        if request.param == "values are missing":
            rows[random.random(rows.shape) < 0.2] = np.nan
        made.append(QueryTable(rows, table.gains))
    trees = learn(made, dict.fromkeys(FEATURES, 0), SETTINGS).trees
    first = learn(made, dict.fromkeys(FEATURES, 0), SETTINGS.model_copy(update={"leaves": 2})).trees
    write_final(folder, FinalSpec(features=tuple(FEATURES), dense_weight=1, lexical_weight=1, encoder=""), first, trees)
    return folder


_VALUES = st.one_of(
    st.integers(-4, 4).map(lambda eighths: eighths / 8), st.floats(-2, 2, width=32), st.just(float("nan"))
)


@given(rows=arrays.arrays(np.float32, st.tuples(st.integers(1, 40), st.just(3)), elements=_VALUES))
def test_scores_are_those_that_lightgbm_itself_gives(coarse: Path, rows: np.ndarray) -> None:
    score = open_score(coarse)
    for rescored, name in ((True, TREES), (False, PRERANK_TREES)):
        expected = lgb.Booster(model_file=str(tree_files(coarse, name)[1])).predict(rows)
        np.testing.assert_allclose(score.scores(rows, rescored), expected, rtol=1e-5, atol=1e-5)


def test_contributions_and_a_constant_sum_up_to_the_score(folder: Path) -> None:
    score = open_score(folder)
    rows = tables(queries=1)[0].features
    for rescored, scores in ((True, score.scores(rows, rescored=True)), (False, score.scores(-rows, rescored=False))):
        reported = score.contributions(rows if rescored else -rows, rescored)
        rest = scores - reported.sum(1)
        assert rest == pytest.approx(np.full(len(rows), rest[0]), abs=1e-4)
    reported = np.abs(score.contributions(rows, rescored=True)).mean(0)
    assert reported[:2].min() > reported[2]


def test_without_lightgbm_it_scores_and_says_what_explaining_needs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tables(queries=1)[0].features
    expected = open_score(folder).scores(rows, rescored=True)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    score = open_score(folder)
    np.testing.assert_array_equal(score.scores(rows, rescored=True), expected)
    with pytest.raises(
        MissingPackageError, match=r"^explaining scores needs pip install 'tandem-retrieval\[explain\]'$"
    ):
        score.contributions(rows, rescored=True)


def test_the_same_tables_teach_the_same_trees(folder: Path) -> None:
    again = learn(tables(), FEATURES, SETTINGS)
    assert again.trees.model_to_string() == learn(tables(), FEATURES, SETTINGS).trees.model_to_string()


def test_it_serves_with_the_models_it_was_trained_with_alone(folder: Path) -> None:
    score = open_score(folder)
    score.check("e", "r")
    for encoder, ranker in (("x", "r"), ("e", "")):
        with pytest.raises(ModelError, match="was trained with other models; run `tandem train final`"):
            score.check(encoder, ranker)


def test_a_score_takes_its_columns_by_name_from_a_longer_table(folder: Path) -> None:
    """As of a version that knows more features, in another order."""
    rows = tables(queries=1)[0].features
    longer = FinalScore.open(folder, ("new", "noise", "good", "newer", "bad"))
    table = np.full((len(rows), 5), 7, np.float32)
    table[:, [2, 4, 1]] = rows
    for rescored in (True, False):
        plain = open_score(folder)
        np.testing.assert_array_equal(longer.scores(table, rescored), plain.scores(rows, rescored))
        contributions = longer.contributions(table, rescored)
        np.testing.assert_array_equal(contributions[:, [2, 4, 1]], plain.contributions(rows, rescored))
        assert not contributions[:, [0, 3]].any()


def test_features_that_this_version_does_not_know_are_refused(folder: Path) -> None:
    with pytest.raises(ModelError, match="does not know the final score's features good, bad, noise: upgrade Tandem"):
        FinalScore.open(folder)


def write_spec(folder: Path, number: int, features: Sequence[str]) -> None:
    spec = {"format": number, "features": features, "dense_weight": 1, "lexical_weight": 1, "encoder": "e"}
    (folder / SPEC_FILE).write_text(json.dumps(spec))


def test_the_format_before_names_features_by_labels(tmp_path: Path) -> None:
    write_spec(tmp_path, 4, ["relevance", "words in the title", "other quantities", "popularity to the best"])
    spec = FinalSpec.read(tmp_path)
    assert spec.format == 5
    assert spec.features == (
        "rerank_probability",
        "title_bm25",
        "conflicting_quantities",
        "popularity_percentile_gap",
    )
    write_spec(tmp_path, 5, ["words in the title"])
    assert FinalSpec.read(tmp_path).features == ("words in the title",), "only format 4 has labels"


def test_a_newer_format_asks_for_a_newer_version(tmp_path: Path) -> None:
    write_spec(tmp_path, 6, ["title_bm25"])
    with pytest.raises(ModelError, match="has format 6, and this version reads 4 and 5: upgrade Tandem, or run"):
        FinalSpec.read(tmp_path)


def test_a_folder_that_holds_something_else_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"holds no final\.json"):
        open_score(tmp_path)
    (tmp_path / SPEC_FILE).write_text("{}")
    with pytest.raises(ModelError, match=r"this version reads \(features: Field required\)") as error:
        open_score(tmp_path)
    assert "\n" not in str(error.value)
    spec = json.loads((folder / SPEC_FILE).read_text())
    (tmp_path / SPEC_FILE).write_text(json.dumps(spec | {"format": 2}))
    with pytest.raises(ModelError, match="format 2, and this version reads 4 and 5: run `tandem train final` again"):
        open_score(tmp_path)
    (tmp_path / SPEC_FILE).write_text(json.dumps(spec | {"features": ["good"]}))
    with pytest.raises(ModelError, match=r"first_trees\.onnx: no such model file"):
        open_score(tmp_path)
    for path in open_score(folder).files():
        if path.name != SPEC_FILE:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ModelError, match="do not agree"):
        open_score(tmp_path)
    (tmp_path / SPEC_FILE).write_text(json.dumps(spec))
    open_score(tmp_path)
    text = tree_files(tmp_path, TREES)[1]
    whole = text.read_text()
    text.write_text(whole.replace("max_feature_idx=2", "max_feature_idx=7"))
    with pytest.raises(ModelError, match=r"trees\.onnx and trees\.txt do not agree; train it again"):
        open_score(tmp_path)
    text.write_text(whole)
    for path, reported in zip(
        tree_files(tmp_path, TREES), ("is not a model that ONNX Runtime", "no trees"), strict=True
    ):
        whole = path.read_bytes()
        path.write_text("tree")
        with pytest.raises(ModelError, match=rf"{path.name}: .*{reported}") as error:
            open_score(tmp_path)
        assert "\n" not in str(error.value)
        path.write_bytes(whole)


LINEAR = FinalSpec(
    features=("good", "bad"),
    first_weights={"good": 1.0, "bad": 0.0},
    weights={"good": 1.0, "bad": -2.0},
    dense_weight=1,
    lexical_weight=1,
    rerank_depth=0,
    encoder="",
)


def test_a_linear_score_is_its_spec_alone(tmp_path: Path, folder: Path) -> None:
    """Written where trees were, it replaces them; `noise` is none of its features."""
    output = tmp_path / "final"
    shutil.copytree(folder, output)
    write_final(output, LINEAR)
    score = open_score(output)
    assert [path.name for path in output.iterdir()] == [SPEC_FILE] == [path.name for path in score.files()]
    table = np.array([[0.5, 0.25, 9], [np.nan, 1, 9]], np.float32)
    assert score.scores(table, rescored=False).tolist() == [0.5, 0]
    assert score.scores(table, rescored=True).tolist() == [0, -2]
    assert score.contributions(table, rescored=True).tolist() == [[0.5, -0.5, 0], [0, -2, 0]]


@pytest.mark.parametrize(
    ("depth", "ranker", "others", "fits"),
    [(0, "", "r", True), (0, "r", "", True), (8, "r", "r", True), (8, "r", "x", False), (8, "", "x", True)],
)
def test_a_portable_score_goes_with_any_towers_and_needs_its_cross_encoder_where_it_rescores(
    tmp_path: Path, depth: int, ranker: str, others: str, fits: bool
) -> None:
    write_final(tmp_path, LINEAR.model_copy(update={"rerank_depth": depth, "ranker": ranker}))
    score = open_score(tmp_path)
    if fits:
        score.check("any", others)
    else:
        with pytest.raises(ModelError, match="was trained with other models"):
            score.check("any", others)


@pytest.mark.parametrize("update", [{"first_weights": {}}, {"weights": {"moon phase": 1.0}}])
def test_weights_have_to_be_of_the_features_and_both_there(tmp_path: Path, update: dict[str, object]) -> None:
    (tmp_path / SPEC_FILE).write_text(json.dumps(LINEAR.model_dump() | update))
    with pytest.raises(ModelError, match="is no final score that this version reads"):
        FinalSpec.read(tmp_path)
