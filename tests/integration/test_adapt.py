"""Adapting tiny towers to a small catalog without judgments: what is accepted, refused, repeated and interrupted."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import LINEAGE
from shops import write_rows
from tiny import COLOURS, NAMES, write_base, write_ranker_base

from core.errors import FeedError, ModelError
from core.progress import Silent
from encoder.bi_encoder import BiEncoder
from encoder.train.export import export_encoder
from lifecycle.adapt import check, ranker_stage, run
from lifecycle.adapt.inputs import AdaptInputs
from lifecycle.adapt.ranker_check import Choice, RankerReport
from lifecycle.adapt.record import AdaptReport, gather_models, read_report
from lifecycle.adapt.run import adapt_models
from lifecycle.adapt.settings import AdaptSettings
from lifecycle.adapt.shop import ShopFiles
from lifecycle.tracking.lineage import read_lineage, write_lineage
from lifecycle.tracking.tracker import NullTracker
from ranker.features import PORTABLE_FEATURES
from ranker.final import FinalSpec
from ranker.ranker import Ranker
from ranker.train import finetune
from ranker.train.export import export_ranker
from ranker.train.final import write_final
from training.export import CHECKPOINT

# A rate at which random weights learn something in a few steps.
LEARNS = AdaptSettings(queries=300, held_out=0.4, learning_rate=5e-3, epochs=3, keep=0.0, batch_size=16)
LEARNS_NOTHING = LEARNS.model_copy(update={"learning_rate": 1e-12, "epochs": 0.2})


def write_catalog(path: Path) -> Path:
    titles = [f"{name.title()}, {colour}" for name in NAMES for colour in COLOURS]
    return write_rows(path, ({"id": f"p{place}", "title": title} for place, title in enumerate(titles)))


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    base = write_base(folder / "encoder" / CHECKPOINT)
    export_encoder(base, folder / "encoder", [f"{name} {colour}" for name in NAMES for colour in COLOURS])
    return folder


@pytest.fixture
def feed(tmp_path: Path) -> Path:
    return write_catalog(tmp_path / "feed.jsonl")


def adapted(inputs: AdaptInputs, output: Path, settings: AdaptSettings) -> AdaptReport:
    return adapt_models(inputs, output, settings, Silent(), NullTracker(), lambda line: None)


def encoder_digest(folder: Path) -> str:
    return BiEncoder.open(folder / "encoder").digest


@pytest.fixture(scope="module")
def with_ranker(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The start with a cross-encoder that has a checkpoint, and with a final score that rescores nothing."""
    folder = tmp_path_factory.mktemp("with-ranker") / "start"
    shutil.copytree(start, folder)
    base = write_ranker_base(folder / "ranker" / CHECKPOINT)
    export_ranker(
        base, folder / "ranker", [("red kettle", f"{name}, {colour}") for name in NAMES for colour in COLOURS]
    )
    weights = {"fused_score": 1.0}
    spec = FinalSpec(
        features=PORTABLE_FEATURES, first_weights=weights, weights=weights, dense_weight=1.0, lexical_weight=1.0,
        rerank_depth=0, encoder="",
    )  # fmt: skip
    write_final(folder / "final", spec)
    return folder


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def left_over(folder: Path) -> Iterator[Path]:
    return folder.glob(".unfinished-*")


def test_adapted_towers_that_are_accepted_are_kept_and_not_made_twice(
    start: Path, feed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log.txt"
    log.write_text("cheap kettle\t7\nnew lamp\n")
    output, inputs = tmp_path / "models", AdaptInputs(ShopFiles(feed, None, log), start)
    monkeypatch.setattr(check, "reasons_to_refuse", lambda *_: [])  # tested apart: words alone find all of this catalog
    report = adapted(inputs, output, LEARNS)
    assert report.accepted and report.known["all"].queries >= 20 and report.steps > 20
    assert report.training is not None and report.training["best"] > report.training["start"]
    assert encoder_digest(output) != encoder_digest(start)
    assert sum(ways.get("log", 0) for ways in report.queries.values()) == 2
    assert set(report.voters) == {"words", "towers"} and sum(report.voters.values()) == pytest.approx(2)
    assert read_report(output) == report
    lineage = read_lineage(output / "encoder")
    assert lineage is not None and {"catalog", "queries", "adapt"} <= set(lineage["data"])

    def fail(*_: object) -> None:
        raise AssertionError("the same inputs are adapted again")

    monkeypatch.setattr(run, "read_shop", fail)
    assert adapted(inputs, output, LEARNS) == report
    log.write_text("cheap kettle\n")
    with pytest.raises(AssertionError):
        adapted(inputs, output, LEARNS)


def test_what_does_not_surely_gain_leaves_the_starting_models(start: Path, feed: Path, tmp_path: Path) -> None:
    report = adapted(AdaptInputs(ShopFiles(feed), start), tmp_path / "models", LEARNS_NOTHING)
    assert not report.accepted and report.reasons and report.ranker is None
    assert encoder_digest(tmp_path / "models") == encoder_digest(start)
    assert (tmp_path / "models" / "encoder" / CHECKPOINT).is_dir()
    assert json.loads((tmp_path / "models" / "report.json").read_bytes())["accepted"] is False


def test_an_interrupted_run_leaves_the_output_as_it_was(
    start: Path, feed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, inputs = tmp_path / "models", AdaptInputs(ShopFiles(feed), start)
    before = adapted(inputs, output, LEARNS_NOTHING)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "fit_towers", interrupted)
    with pytest.raises(KeyboardInterrupt):
        adapted(inputs, output, LEARNS_NOTHING.model_copy(update={"seed": 1}))
    assert read_report(output) == before and encoder_digest(output) == encoder_digest(start)
    assert not list(left_over(tmp_path))


@pytest.mark.parametrize(
    "titles", [["Kettle"], ["Kettle", "Lamp", "Mug", "Drill", "Hose"], ["чайник", "лампа"], ["やかん"]]
)
def test_a_catalog_of_hardly_any_product_is_refused_in_words(start: Path, tmp_path: Path, titles: list[str]) -> None:
    feed = write_rows(tmp_path / "feed.jsonl", ({"id": str(i), "title": title} for i, title in enumerate(titles)))
    report = adapted(AdaptInputs(ShopFiles(feed), start), tmp_path / "models", LEARNS)
    [reason] = report.reasons
    assert (
        not report.accepted
        and "of 20 needed" in reason
        and encoder_digest(tmp_path / "models") == encoder_digest(start)
    )


def test_too_little_time_is_refused_before_anything_is_learned(start: Path, feed: Path, tmp_path: Path) -> None:
    settings = LEARNS.model_copy(update={"minutes": 0.001})
    report = adapted(AdaptInputs(ShopFiles(feed), start), tmp_path / "models", settings)
    assert not report.accepted and "give more --minutes" in report.reasons[0] and report.training is None


def test_files_that_cannot_be_used_are_named(start: Path, feed: Path, tmp_path: Path) -> None:
    empty, foreign, nothing = tmp_path / "empty.txt", tmp_path / "foreign.txt", tmp_path / "nothing.csv"
    empty.write_text("\n \n")
    foreign.write_bytes("чайник\n".encode("cp1251"))
    nothing.write_text("id,title\n")
    wanted = [
        (AdaptInputs(ShopFiles(tmp_path / "none.csv"), start), FeedError, "none.csv: no such file"),
        (AdaptInputs(ShopFiles(nothing), start), FeedError, "holds no rows"),
        (AdaptInputs(ShopFiles(feed, None, empty), start), FeedError, "holds no query"),
        (AdaptInputs(ShopFiles(feed, None, foreign), start), FeedError, "not UTF-8"),
        (AdaptInputs(ShopFiles(feed, None, tmp_path / "none.txt"), start), FeedError, "none.txt: no such file"),
        (AdaptInputs(ShopFiles(feed, tmp_path / "none.toml"), start), FeedError, "none.toml"),
        (AdaptInputs(ShopFiles(feed), tmp_path / "none"), ModelError, "as --from"),
        (AdaptInputs(ShopFiles(feed), start, [tmp_path]), ModelError, str(tmp_path)),
    ]
    for inputs, kind, words in wanted:
        with pytest.raises(kind, match=words.replace(".", r"\.")):
            adapted(inputs, tmp_path / "models", LEARNS)
    assert not (tmp_path / "models").exists()


def test_the_output_may_not_be_the_start_nor_hold_something_else(start: Path, feed: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    for output in (start, start.parent, tmp_path / "full", feed):
        with pytest.raises(ModelError, match="choose a"):
            adapted(AdaptInputs(ShopFiles(feed), start), output, LEARNS)
    assert (tmp_path / "full" / "notes.txt").read_text() == "mine"


@pytest.fixture
def towers_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cross-encoder alone is trained, as where there is no time for the towers."""
    monkeypatch.setattr(run, "affordable_steps", lambda *_: 0)


RANKER_LEARNS = LEARNS.model_copy(update={"ranker_learning_rate": 5e-3, "epochs": 0.2})


@pytest.mark.usefixtures("towers_as_they_are")
def test_an_adapted_cross_encoder_that_is_chosen_serves_and_its_lineage_says_why(
    with_ranker: Path, feed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words alone find all of this catalog, so that no cross-encoder gains: what it gains and how it is chosen are
    planted, and tested apart."""
    measured: list[Any] = []

    def choose(*arguments: Any) -> tuple[str, str]:
        measured.extend(arguments)
        return "adapted", "it gains"

    def mix_report(*_: Any) -> dict[str, Any]:
        return {"share": 0.7, "queries": 30}

    monkeypatch.setattr(ranker_stage, "choose_ranker", choose)
    monkeypatch.setattr(finetune, "mix_report", mix_report)
    output, inputs = tmp_path / "models", AdaptInputs(ShopFiles(feed), with_ranker)
    report = adapted(inputs, output, RANKER_LEARNS)
    before, after = Ranker.open(with_ranker / "ranker"), Ranker.open(output / "ranker")
    assert report.ranker is not None and report.adapted_ranker and report.ranker.training is not None
    assert after.digest != before.digest and after.mix == 0.7 and after.spec.precision.startswith("int8")
    assert report.ranker.training["validation"][-1]["step"] > 5
    compared, original, over_original, towers_changed = measured
    assert compared.known["all"].queries >= 20 and compared.known["all"].before == original.known["all"].before
    assert original.known["all"].gain == 0  # the final score rescores nothing
    assert over_original.queries == compared.known["all"].queries and towers_changed is report.accepted is False
    assert encoder_digest(output) == encoder_digest(with_ranker)
    assert report.ranker.known["all"] == compared.known["all"]
    lineage = read_lineage(output / "ranker")
    assert lineage is not None and lineage["verdict"] == "adapted: it gains"
    assert {"catalog", "adapt", "towers"} <= set(lineage["data"]) and lineage["kind"] == "ranker"
    assert not (output / "final").exists() and "no final score" in report.notes[0]
    assert set(report.voters) == {"words", "towers", "cross-encoder"}
    assert adapted(inputs, output, RANKER_LEARNS) == report


@pytest.mark.usefixtures("towers_as_they_are")
def test_a_refused_cross_encoder_leaves_the_models_of_the_start_and_its_reason(
    with_ranker: Path, feed: Path, tmp_path: Path
) -> None:
    settings = LEARNS_NOTHING.model_copy(update={"ranker_learning_rate": 1e-12})
    report = adapted(AdaptInputs(ShopFiles(feed), with_ranker), tmp_path / "models", settings)
    assert not report.accepted and report.ranker is not None and report.ranker.choice == "original"
    assert report.ranker.reason.startswith("adapted one refused: ")
    made = files_below(tmp_path / "models")
    assert made.pop("report.json") and made == files_below(with_ranker)


@pytest.mark.parametrize("choice", ["original", "none"])
def test_beside_adapted_towers_that_of_the_start_is_kept_or_left_out(
    with_ranker: Path, tmp_path: Path, choice: Choice
) -> None:
    shutil.copytree(with_ranker / "encoder", tmp_path / "encoder")
    write_lineage(tmp_path / "encoder", LINEAGE)
    ranker = RankerReport(choice=choice, reason="it was measured")
    report = AdaptReport(inputs="x", products=96, accepted=True, ranker=ranker)
    assert gather_models(with_ranker, tmp_path, report) == []
    assert (tmp_path / "ranker").is_dir() is (choice == "original")
    assert files_below(tmp_path / "final") == files_below(with_ranker / "final")  # it goes with any towers
    lineage = read_lineage(tmp_path / "encoder")
    assert lineage is not None and f"; cross-encoder: {choice}: it was measured" in lineage["verdict"]


def test_a_final_score_of_other_towers_is_left_out_with_a_note(with_ranker: Path, tmp_path: Path) -> None:
    start, output = tmp_path / "start", tmp_path / "models"
    shutil.copytree(with_ranker, start)
    spec = FinalSpec.read(start / "final").model_copy(update={"encoder": "of other towers"})
    write_final(start / "final", spec)
    shutil.copytree(start / "encoder", output / "encoder")
    none = RankerReport(choice="none", reason="")
    [note] = gather_models(start, output, AdaptReport(inputs="x", products=96, accepted=True, ranker=none))
    assert "no final score" in note and not (output / "final").exists()


def test_a_cross_encoder_without_a_checkpoint_or_time_is_judged_as_it_is(
    with_ranker: Path, feed: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "start"
    shutil.copytree(with_ranker, bare)
    shutil.rmtree(bare / "ranker" / CHECKPOINT)
    settings = LEARNS_NOTHING.model_copy(update={"least_steps": 10**9})
    for name, start, words in (("a", bare, "no checkpoint to train on"), ("b", with_ranker, "leave time for")):
        report = adapted(AdaptInputs(ShopFiles(feed), start), tmp_path / name, settings)
        assert report.ranker is not None and report.ranker.choice == "original" and words in report.ranker.reason
        assert report.ranker.training is None and (tmp_path / name / "ranker" / "ranker.json").is_file()


def test_a_cross_encoder_that_cannot_be_read_is_named_first(with_ranker: Path, feed: Path, tmp_path: Path) -> None:
    broken = tmp_path / "start"
    shutil.copytree(with_ranker, broken)
    (broken / "ranker" / "ranker.json").write_text("{}")
    with pytest.raises(ModelError, match=r"ranker\.json"):
        adapted(AdaptInputs(ShopFiles(feed), broken), tmp_path / "models", LEARNS)
    assert not (tmp_path / "models").exists()
