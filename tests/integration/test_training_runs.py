"""Fine-tuning on a shop whose shoppers use words of their own: it must learn them, repeat itself, and export."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tiny
import torch

from core.errors import ModelError
from encoder.bi_encoder import BiEncoder
from encoder.embed import embed_items
from encoder.train.examples import training_rows
from encoder.train.export import export_encoder
from encoder.train.finetune import SearchValidation, make_shelf, train_encoder, validate
from encoder.train.settings import EncoderTraining
from engine.onnx.session import OnnxModel
from evaluation.judgments import JUDGMENTS_SCHEMA
from ranker.ranker import Ranker
from ranker.train.examples import training_labels, training_pairs
from ranker.train.export import export_ranker
from ranker.train.finetune import train_ranker
from ranker.train.settings import RankerTraining
from training.examples import Examples, select_split

# What this shop's shoppers call its products: nothing that a model could know beforehand.
NAMES = {
    "zorb": "kettle",
    "quil": "hammer",
    "plent": "sandals",
    "brask": "duvet",
    "fenno": "headphones",
    "gruta": "spade",
}
COLOURS = ("red", "blue", "green", "black")
WAYS = {"train": ("{} {}", "cheap {} {}", "{} in {}"), "valid": ("new {} {}", "buy {} {}")}
SMALL = {"product_tokens": 16, "validation_pairs": 400, "threads": 2, "evaluations": 2, "seed": 3}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {f"{name}-{colour}": f"{name.title()}, {colour}" for name in NAMES.values() for colour in COLOURS}


@pytest.fixture(scope="module")
def judgments() -> pa.Table:
    """The product meant has grade 3, one of another colour 2, any other of the same colour 1, the rest 0."""
    rows: list[tuple[str, str, float, str]] = []
    for split, ways in WAYS.items():
        for word, name in NAMES.items():
            for i, colour in enumerate(COLOURS):
                query = ways[i % len(ways)].format(word, colour)
                for other in NAMES.values():
                    for shade in COLOURS:
                        grade = 2.0 * (other == name) + (shade == colour)
                        rows.append((query, f"{other}-{shade}", grade, split))
    return pa.table(list(map(list, zip(*rows, strict=True))), schema=JUDGMENTS_SCHEMA)


@pytest.fixture(scope="module")
def little(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Settings of a base that is trained in a moment, where it does not matter how well."""
    return SMALL | {"base": tiny.write_base(tmp_path_factory.mktemp("base")), "threads": 1}


@pytest.fixture(scope="module")
def encoder(texts: dict[str, str], judgments: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("trained") / "encoder"
    settings = EncoderTraining(epochs=2, max_steps=14, batch_size=12, learning_rate=4e-4, **SMALL)
    seen: list[tuple[int, int | None]] = []
    examples = Examples.split(texts, judgments, "en")
    report = train_encoder(examples, folder, settings, lambda done, total: seen.append((done, total)))
    assert seen == [(step, 14) for step in range(1, 15)]
    return folder, report


@pytest.fixture(scope="module")
def ranker(texts: dict[str, str], judgments: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("trained") / "ranker"
    settings = RankerTraining(epochs=5, max_steps=60, batch_size=16, learning_rate=2e-4, **SMALL)
    return folder, train_ranker(Examples.split(texts, judgments, "en"), folder, settings)


def test_the_towers_learn_the_shops_words(encoder: tuple[Path, Any]) -> None:
    folder, report = encoder
    assert report["best"] > report["start"] + 0.1
    assert report["loss"][-1]["loss"] < report["loss"][0]["loss"]
    assert [entry["step"] for entry in report["validation"]] == [0, 7, 14]
    assert not (folder / "scratch").exists()


def test_exported_towers_have_learned_too(encoder: tuple[Path, Any], texts: dict[str, str]) -> None:
    tower = BiEncoder.open(encoder[0])
    model = OnnxModel(tower.model_path("item"))
    items = np.empty((len(texts), tower.spec.dimensions), np.float32)
    for places, part in embed_items(model, tower.tokenize_items(list(texts.values()))):
        items[places] = part
    queries = model.run(tower.tokenize_queries([f"{word} {COLOURS[0]}" for word in NAMES]))
    first = [list(texts)[row].split("-")[0] for row in (queries @ items.T).argmax(axis=1)]
    assert sum(result == meant for result, meant in zip(first, NAMES.values(), strict=True)) >= 4


def test_the_ranker_learns_and_exports(ranker: tuple[Path, Any], texts: dict[str, str]) -> None:
    folder, report = ranker
    assert report["best"] > report["start"] + 0.2
    opened = Ranker.open(folder)
    query = opened.tokenize_query("zorb red")
    pairs = [opened.pack(query, product) for product in opened.tokenize_products(list(texts.values()))]
    logits = OnnxModel(opened.model_path).run([tokens for tokens, _ in pairs], [segments for _, segments in pairs])
    assert logits.shape == (len(texts),)
    scores = opened.scores(logits, np.zeros(len(logits), np.float32))
    assert 0 < scores.min() < scores.max() < 1
    assert opened.spec.similarity == 0  # nothing was said of any pair


def test_the_ranker_builds_on_similarity(texts: dict[str, str], judgments: pa.Table, tmp_path: Path) -> None:
    """Towers that know the colour, and the grade's third that hangs on it, leave the rest to be learned."""

    def same_colour(queries: Sequence[str], products: Sequence[str]) -> np.ndarray:
        pairs = zip(queries, products, strict=True)
        return np.array([query.split()[-1] == product.split()[-1] for query, product in pairs], np.float32)

    base = tiny.write_ranker_base(tmp_path / "base")
    settings = RankerTraining(max_steps=2, batch_size=16, **SMALL | {"base": base, "threads": 1})
    report = train_ranker(replace(Examples.split(texts, judgments), similarity=same_colour), tmp_path, settings)
    assert Ranker.open(tmp_path).spec.similarity == pytest.approx(report["calibration"]["similarity"])
    assert report["calibration"]["similarity"] > 0.5
    alone = train_ranker(Examples.split(texts, judgments), tmp_path, settings)
    assert report["start"] > alone["start"] + 0.05


def test_int8_towers_stay_close_to_what_was_trained(encoder: tuple[Path, Any]) -> None:
    assert encoder[1]["parity"]["cosine_mean"] > 0.99


def test_the_same_seed_trains_the_same_towers(
    texts: dict[str, str], judgments: pa.Table, tmp_path: Path, little: dict[str, Any]
) -> None:
    digests = []
    for name, seed in (("first", 3), ("second", 3), ("other", 4)):
        settings = EncoderTraining(max_steps=2, batch_size=8, **{**little, "seed": seed})
        train_encoder(Examples.split(texts, judgments), tmp_path / name, settings)
        digests.append(BiEncoder.open(tmp_path / name).digest)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("change", [{"dropout": 0.5}, {"weight_decay": 0.9}])
def test_dropout_and_weight_decay_change_what_is_learned(
    change: dict[str, float], texts: dict[str, str], judgments: pa.Table, tmp_path: Path, little: dict[str, Any]
) -> None:
    losses = []
    for name, more in (("plain", {}), ("changed", change)):
        settings = EncoderTraining(max_steps=3, batch_size=8, learning_rate=5e-3, **little, **more)
        losses.append(
            [
                entry["loss"]
                for entry in train_encoder(Examples.split(texts, judgments), tmp_path / name, settings)["loss"]
            ]
        )
    assert losses[0] != losses[1]


def test_a_local_checkpoint_is_a_base_in_its_turn(encoder: tuple[Path, Any], tmp_path: Path) -> None:
    export_encoder(str(encoder[0] / "checkpoint"), tmp_path)
    again, trained = BiEncoder.open(tmp_path), BiEncoder.open(encoder[0])
    tokens = trained.tokenize_items(["Kettle, red"])
    np.testing.assert_array_equal(again.tokenize_items(["Kettle, red"])[0], tokens[0])
    ours, theirs = (OnnxModel(tower.model_path("item")).run(tokens)[0] for tower in (again, trained))
    assert float(ours @ theirs) > 0.99  # the same weights, rounded to int8 by other texts
    assert again.spec.base == "all-MiniLM-L6-v2"  # what the first training started from


def test_an_interrupted_training_leaves_no_towers(
    texts: dict[str, str], judgments: pa.Table, tmp_path: Path, little: dict[str, Any]
) -> None:
    def interrupt(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_encoder(
            Examples.split(texts, judgments),
            tmp_path,
            EncoderTraining(max_steps=2, batch_size=4, **little),
            report=interrupt,
        )
    with pytest.raises(ModelError):
        BiEncoder.open(tmp_path)
    assert not (tmp_path / "report.json").exists()


def test_a_training_that_was_cut_off_goes_on_to_the_same_towers(
    texts: dict[str, str], judgments: pa.Table, tmp_path: Path, little: dict[str, Any]
) -> None:
    settings = EncoderTraining(max_steps=8, batch_size=8, patience=9, **{**little, "evaluations": 4})
    whole = train_encoder(Examples.split(texts, judgments), tmp_path / "whole", settings)
    cut = tmp_path / "cut"

    def interrupt(done: int, total: int | None) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_encoder(Examples.split(texts, judgments), cut, settings, report=interrupt)
    (cut / "scratch" / "checkpoint-8").mkdir()  # as if the end had come while it was being written
    steps: list[int] = []
    again = train_encoder(
        Examples.split(texts, judgments), cut, settings, report=lambda done, total: steps.append(done)
    )
    assert steps == [7, 8]
    assert again["validation"] == whole["validation"] and again["loss"] == whole["loss"]
    assert BiEncoder.open(cut).digest == BiEncoder.open(tmp_path / "whole").digest


def test_other_settings_do_not_go_on_from_an_old_checkpoint(
    texts: dict[str, str], judgments: pa.Table, tmp_path: Path, little: dict[str, Any]
) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if done == 3:
            raise KeyboardInterrupt

    small = little | {"evaluations": 4}
    with pytest.raises(KeyboardInterrupt):
        train_encoder(
            Examples.split(texts, judgments),
            tmp_path,
            EncoderTraining(max_steps=4, batch_size=8, **small),
            report=interrupt,
        )
    steps: list[int] = []
    other = EncoderTraining(max_steps=4, batch_size=8, scale=10.0, **small)
    train_encoder(Examples.split(texts, judgments), tmp_path, other, report=lambda done, total: steps.append(done))
    assert steps[0] == 1


@pytest.mark.parametrize("export", [export_encoder, export_ranker])
def test_a_folder_that_holds_no_model_is_refused_in_one_line(export: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded") as caught:
        export(str(tmp_path), tmp_path / "out")
    assert "\n" not in str(caught.value)


def test_examples_pair_good_products_with_poor_ones(texts: dict[str, str], judgments: pa.Table) -> None:
    train = select_split(judgments, texts, "train")
    names = {text: name for name, text in texts.items()}
    settings = EncoderTraining(negatives=2, positives=3, seed=1)
    rows = training_rows(train, texts, settings, {"query": "ask: "}, {}).rows.to_list()
    assert len(rows) == 3 * len(train.queries)
    for row in rows:
        graded = train.queries[row["query"].removeprefix("ask: ")]
        assert graded[names[row["positive"]]] >= 0.5
        assert all(graded[names[row[f"negative_{i}"]]] <= 0.34 for i in range(2))


class Angles:
    """Encodes a text that is a number as the unit vector at so many degrees."""

    prompts = None

    def encode(self, texts: list[str], **_: Any) -> torch.Tensor:
        return torch.tensor(
            [[math.cos(math.radians(float(text))), math.sin(math.radians(float(text)))] for text in texts]
        )


def test_towers_are_validated_by_finding_judged_products_among_others() -> None:
    texts = {"good": "10", "poor": "50", "other": "2", "far": "90"}
    sample = {"0": {"good": 1.0, "poor": 0.0}}
    alone = make_shelf(sample, texts, EncoderTraining(distractors=0))
    assert list(alone) == ["good", "poor"]
    assert validate(Angles(), SearchValidation(sample, alone)) == pytest.approx(1.0)
    # Nobody judged the product at 2 degrees: it gains nothing and takes the first place, 1 / log2(3) is left.
    among = make_shelf(sample, texts, EncoderTraining(distractors=2))
    assert set(among) == set(texts)
    assert validate(Angles(), SearchValidation(sample, among)) == pytest.approx(1 / math.log2(3))
    # What a retrieval found is there without being drawn, if the catalog has it.
    assert set(make_shelf(sample, texts, EncoderTraining(distractors=0), {"far", "gone"})) == {"good", "poor", "far"}


def test_without_judged_negatives_only_the_batch_is_contrasted(texts: dict[str, str], judgments: pa.Table) -> None:
    train = select_split(judgments, texts, "train")
    rows = training_rows(train, texts, EncoderTraining(negatives=0, positives=1), {}, {}).rows
    assert rows.column_names == ["query", "positive", "label"] and len(rows) == len(train.queries)


def test_pairs_carry_relevance_and_random_products_none(texts: dict[str, str], judgments: pa.Table) -> None:
    train = select_split(judgments, texts, "train")
    thin = type(train)(train.split, {query: dict(list(graded.items())[:4]) for query, graded in train.queries.items()})
    names = {text: name for name, text in texts.items()}
    settings = RankerTraining(judgments=3, random_negatives=2, seed=1)
    rows = training_pairs(training_labels(Examples(texts, thin, thin), settings), texts).to_list()
    unjudged = [row for row in rows if names[row["product"]] not in thin.queries[row["query"]]]
    assert all(row["label"] == 0 for row in unjudged)
    for row in rows:
        if row not in unjudged:
            assert row["label"] == pytest.approx(thin.queries[row["query"]][names[row["product"]]])
    assert len(rows) - len(unjudged) == 3 * len(thin.queries)


@pytest.mark.parametrize("kind", ["encoder", "ranker"])
def test_the_checkpoints_card_tells_its_evaluation_and_no_text_of_the_shop(
    kind: str, texts: dict[str, str], request: pytest.FixtureRequest
) -> None:
    folder, report = request.getfixturevalue(kind)
    card = (folder / "checkpoint" / "README.md").read_text("utf-8")
    assert "language:\n- en\n" in card and "base_model: sentence-transformers/all-MiniLM-L6-v2" in card
    assert f"Size: {report['data']['examples']:,} training samples" in card
    assert f"**{report['best']:.4f}**" in card and f"{report['start']:.4f}" in card
    assert f'"judgments": {report["data"]["valid_judgments"]}' in card
    assert not any(text in card for text in texts.values())
    assert not any(word in card for word in NAMES)
    assert "widget" not in card


def test_a_base_of_ones_own_is_named_and_not_linked(
    encoder: tuple[Path, Any], texts: dict[str, str], judgments: pa.Table, tmp_path: Path
) -> None:
    base = str(encoder[0] / "checkpoint")
    settings = EncoderTraining(base=base, max_steps=1, batch_size=4, **SMALL)
    train_encoder(Examples.split(texts, judgments), tmp_path, settings)
    card = (tmp_path / "checkpoint" / "README.md").read_text("utf-8")
    assert "# SentenceTransformer based on all-MiniLM-L6-v2" in card
    assert "base_model:" not in card and str(encoder[0]) not in card
