"""What `tandem train` takes, and what it says of what it cannot take."""

import json
import sys
from pathlib import Path

import pytest
import tiny

from lifecycle.cli import main

ONE = ("encoder", "--output", "out")
BOTH = ("--recipe", "sample", "--output", "out")


def error(*arguments: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command ends with."""
    monkeypatch.setattr(sys, "argv", ["tandem", "train", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    told = capsys.readouterr().err
    assert end.value.code == 2 and told.startswith("tandem: ") and told.count("\n") == 1, told
    return told.removeprefix("tandem: ").strip()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("encoder",), "give --output, the folder for what is trained"),
        (("--output", "out"), "say what to train: encoder or ranker, or --recipe for both"),
        ((*ONE, "--recipe", "sample"), "say what to train: encoder or ranker, or --recipe for both"),
        (ONE, "give --catalog and --judgments, the files to learn from"),
        ((*ONE, "--data", "d"), "--data, --stages and --minutes go with --recipe"),
        ((*ONE, "--minutes", "5"), "--data, --stages and --minutes go with --recipe"),
        ((*ONE, "--catalog", "c", "--judgments", "j", "--encoder", "e"), "--encoder is for training the ranker"),
        (BOTH, "give --data, the folder of the recipe's sets, or --catalog and --judgments of one shop"),
        (
            (*BOTH, "--data", "d", "--catalog", "c"),
            "give --data, or the --catalog and --judgments of one shop, not both",
        ),
        ((*BOTH, "--epochs", "2"), "a recipe has settings of its own"),
        (("--recipe", "amazon", "--output", "out"), "no recipe 'amazon'; there are sample, home_depot, general"),
        ((*BOTH, "--data", "nowhere"), "nowhere/catalog.jsonl.gz: no such file"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: tuple[str, ...], fault: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert error(*arguments, monkeypatch=monkeypatch, capsys=capsys).startswith(fault)


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        ("[encoder]\nlearning_speed = 1", "[encoder] learning_speed: Extra inputs are not permitted"),
        (
            "[encoder]\nbatch_size = 8\nmini_batch = 16",
            "[encoder] Value error, mini_batch 16 is more than batch_size 8",
        ),
        ("[towers]\nlora = 4", "setting towers: Extra inputs are not permitted"),
    ],
)
def test_a_knob_that_there_is_not_is_named(
    table: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "train.toml"
    config.write_text(table)
    options = [*ONE, *tiny.write_shop(tmp_path), "--config", config, "--track", "off"]
    assert error(*options, monkeypatch=monkeypatch, capsys=capsys).startswith(fault)


def test_the_files_knobs_reach_the_training_and_options_win_over_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "train.toml"
    config.write_text(
        "[encoder]\nmax_steps = 2\nevaluations = 1\nseed = 3\nlora = 2\nmatryoshka = [8]\ndistractors = 5"
    )
    base, output = tiny.write_base(tmp_path / "base"), tmp_path / "towers"
    given = [*tiny.write_shop(tmp_path), "--output", output, "--config", config, "--base", base, "--seed", 4]
    monkeypatch.setattr(sys, "argv", ["tandem", "train", "encoder", *map(str, given), "--track", "off"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    settings = json.loads((output / "report.json").read_text())["settings"]
    assert (settings["max_steps"], settings["seed"], settings["lora"], settings["matryoshka"]) == (2, 4, 2, [8])
