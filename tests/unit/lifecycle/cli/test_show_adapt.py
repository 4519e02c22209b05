"""What `tandem adapt` prints, and how it hands its options on; the adaptation itself is a double."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from core.errors import TandemError
from lifecycle.adapt import run
from lifecycle.adapt.check import PairedGain
from lifecycle.adapt.inputs import AdaptInputs
from lifecycle.adapt.ranker_check import RankerReport
from lifecycle.adapt.record import AdaptReport
from lifecycle.adapt.settings import AdaptSettings
from lifecycle.cli.app import app
from lifecycle.cli.show_adapt import show_adapt

GAIN = PairedGain(queries=120, before=0.5, after=0.53, gain=0.03, low=0.01, high=0.05)
REPORT = AdaptReport(
    inputs="x", accepted=True, products=60_000, searched=50_000, steps=1234,
    queries={"train": {"head": 1000, "log": 500}, "held out": {"words": 120}},
    voters={"words": 1.25, "towers": 0.75}, quality={"words": 0.7, "towers": 0.54}, known={"all": GAIN}, agreement=GAIN,
)  # fmt: skip


def shown(report: AdaptReport) -> str:
    console = Console(file=StringIO(), width=120)
    show_adapt(console, report, Path("models-shop"))
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_a_report_shows_voters_gains_and_the_verdict() -> None:
    text = shown(REPORT)
    assert "60,000 products, 50,000 of them searched; 1,500 queries to learn from, 120 held out; 1,234 steps" in text
    assert "+0.030 [+0.010, +0.050]" in text and "towers alone, agreement" in text
    assert text.splitlines()[-1] == "adapted: models-shop"


def test_a_refusal_is_one_line_with_all_reasons() -> None:
    refused = REPORT.model_copy(update={"accepted": False, "reasons": ["one", "two"]})
    assert shown(refused).splitlines()[-1] == "refused: one; two; models-shop holds the models it started from"


def test_the_cross_encoder_is_shown_with_its_gains_and_the_reason_of_the_choice() -> None:
    ranker = RankerReport(choice="none", reason="it does not pay", known={"all": GAIN}, agreement=GAIN, original=GAIN)
    voters = {"words": 1.25, "towers": 0.75, "cross-encoder": 0.0}
    report = REPORT.model_copy(
        update={"ranker": ranker, "voters": voters, "quality": {**REPORT.quality, "cross-encoder": 0.61}}
    )
    lines = shown(report).splitlines()
    assert lines[-2:] == ["cross-encoder: none: it does not pay", "adapted: models-shop"]
    assert any("cross-encoder" in line and "0.610" in line and "0.00" in line for line in lines)
    assert any("adapted, all" in line and "+0.030" in line for line in lines)
    assert any("that of the start" in line for line in lines)


def test_towers_that_are_refused_beside_an_adapted_cross_encoder_are_named_as_such() -> None:
    ranker = RankerReport(choice="adapted", reason="it gains")
    report = REPORT.model_copy(update={"accepted": False, "reasons": ["one"], "ranker": ranker})
    assert shown(report).splitlines()[-1] == "towers refused: one; models-shop holds those it started from"


def test_the_command_hands_on_its_options_and_ends_well_where_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []

    def adapt_models(*arguments: object) -> AdaptReport:
        given.extend(arguments)
        return REPORT.model_copy(update={"accepted": False, "reasons": ["none gains"]})

    monkeypatch.setattr(run, "adapt_models", adapt_models)
    config = tmp_path / "adapt.toml"
    config.write_text("[adapt]\nqueries = 77\nminutes = 3\n")
    options = ["--catalog", "feed.csv", "--queries", "log.txt", "--from", "models", "--output", str(tmp_path / "out")]
    more = ["--minutes", "5", "--voter", "a", "--voter", "b", "--track", "off", "--config", str(config)]
    result = CliRunner().invoke(app, ["adapt", *options, *more], catch_exceptions=False)
    assert result.exit_code == 0
    inputs, output, settings = given[:3]
    assert isinstance(inputs, AdaptInputs) and isinstance(settings, AdaptSettings)
    assert (inputs.shop.catalog, inputs.shop.queries, inputs.start) == (
        Path("feed.csv"),
        Path("log.txt"),
        Path("models"),
    )
    assert inputs.voters == (Path("a"), Path("b")) and output == tmp_path / "out"
    assert (settings.minutes, settings.queries) == (5, 77)


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    config = tmp_path / "adapt.toml"
    config.write_text("[adapt]\nminits = 3\n")
    command = ["adapt", "--catalog", "feed.csv", "--output", str(tmp_path / "out"), "--config", str(config)]
    with pytest.raises(TandemError, match="minits"):
        CliRunner().invoke(app, command, catch_exceptions=False)
