"""Adapting tiny towers to a small catalog without judgments: what is accepted, refused, repeated and interrupted."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from shops import write_rows
from tiny import COLOURS, NAMES, write_base

from core.errors import FeedError, ModelError
from core.progress import Silent
from encoder.bi_encoder import BiEncoder
from encoder.train.export import export_encoder
from lifecycle.adapt import check, run
from lifecycle.adapt.record import AdaptReport, read_report
from lifecycle.adapt.run import AdaptInputs, adapt_models
from lifecycle.adapt.settings import AdaptSettings
from lifecycle.adapt.shop import ShopFiles
from lifecycle.tracking.lineage import read_lineage
from lifecycle.tracking.tracker import NullTracker
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
    copy = tmp_path / "start"
    shutil.copytree(start, copy)
    (copy / "ranker").mkdir()
    (copy / "ranker" / "ranker.json").write_text("{}")
    report = adapted(AdaptInputs(ShopFiles(feed), copy), tmp_path / "models", LEARNS_NOTHING)
    assert not report.accepted and report.reasons
    assert encoder_digest(tmp_path / "models") == encoder_digest(start)
    assert (tmp_path / "models" / "ranker" / "ranker.json").read_text() == "{}"
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
