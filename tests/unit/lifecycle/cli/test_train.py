"""What `tandem train` takes, and what it says of what it cannot take."""

import json
import sys
from pathlib import Path

import pytest
import tiny
from typer.testing import CliRunner

from lifecycle.cli.app import app, main
from lifecycle.training import negatives
from lifecycle.training.scoring import Teacher
from ranker.ranker import Ranker

ONE = ("encoder", "--output", "out")
BOTH = ("--recipe", "sample", "--output", "out")


def error(*arguments: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that the command ends with."""
    monkeypatch.setattr(sys, "argv", ["tandem", "train", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    output = capsys.readouterr().err
    assert end.value.code == 2 and output.startswith("tandem: ") and output.count("\n") == 1, output
    return output.removeprefix("tandem: ").strip()


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (("encoder",), "give --output, the folder for what is trained"),
        (("--output", "out"), "name what to train: encoder, ranker, final or users, or --recipe for"),
        (
            (*ONE, "--recipe", "sample"),
            "name what to train: encoder, ranker, final or users, or --recipe for",
        ),
        ((*ONE, "--releases", "r"), "--releases, --name and --shop go with `tandem train final`"),
        (("final", "--output", "o"), "give --releases and --judgments: the release in service"),
        (("final", "--output", "o", "--catalog", "c"), "the final score is learned from a release: give --releases,"),
        (ONE, "give --catalog and --judgments, the files to learn from"),
        ((*ONE, "--data", "d"), "--data, --stages, --minutes, --without and --ranker go with --recipe"),
        ((*ONE, "--minutes", "5"), "--data, --stages, --minutes, --without and --ranker go with --recipe"),
        ((*ONE, "--catalog", "c", "--judgments", "j", "--encoder", "e"), "--encoder is for training the ranker"),
        (
            ("ranker", "--output", "out", "--catalog", "c", "--judgments", "j", "--mine"),
            "--mine needs the towers whose results the ranker rescores; give them as --encoder",
        ),
        (
            ("ranker", "--output", "out", "--catalog", "c", "--judgments", "j", "--teacher", "t"),
            "--teacher decides which of a ranker's mined negatives are relevant after all; give --mine too",
        ),
        ((*BOTH, "--data", "d", "--minutes", "5"), "recipe sample is a short one, which always learns all"),
        ((*BOTH, "--mine"), "a recipe has settings of its own"),
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
            "[encoder] mini_batch 16 is more than batch_size 8",
        ),
        ("[mining]\nfirst = 9\nlast = 3", "[mining] the ranks to draw from begin at 9 and end at 3"),
        ("[towers]\nlora = 4", "setting towers: Extra inputs are not permitted"),
    ],
)
def test_a_knob_that_there_is_not_is_named(
    table: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "train.toml"
    config.write_text(table)
    options = [*ONE, *tiny.write_shop(tmp_path), "--mine", "--config", config, "--track", "off"]
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


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Options of a shop's files, a base, and a ranker trained on them."""
    folder = tmp_path_factory.mktemp("shop")
    base = tiny.write_ranker_base(folder / "base")
    (folder / "train.toml").write_text(
        "[encoder]\nmax_steps = 2\nevaluations = 1\ndistractors = 5\nbatch_size = 8\n"
        "[ranker]\nmax_steps = 2\nevaluations = 1\nbatch_size = 8\n[mining]\nfirst = 1\nlast = 20"
    )
    files = [*tiny.write_shop(folder), "--config", folder / "train.toml", "--track", "off"]
    return {"files": files, "base": base, "folder": folder}


def trained(shop: dict[str, object], kind: str, output: Path, *options: object) -> dict[str, object]:
    """What the training's report says."""
    command = ["train", kind, *shop["files"], "--output", output, *options]
    result = CliRunner().invoke(app, [str(part) for part in command], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    actual: dict[str, object] = json.loads((output / "report.json").read_text())
    return actual


def test_negatives_are_mined_and_a_teacher_is_asked(
    shop: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mined: list[dict[str, list[str]]] = []
    asked: list[int] = []
    doubted: list[int] = []
    whole, logits = negatives.group_by_query, Teacher.logits
    monkeypatch.setattr(negatives, "group_by_query", lambda table: mined.append(whole(table)) or mined[-1])
    monkeypatch.setattr(Teacher, "logits", lambda self, *pairs: asked.append(len(pairs[0])) or logits(self, *pairs))

    chances = Teacher.chances

    def counted(self: Teacher, queries: list[str], *rest: object, **given: object) -> object:
        doubted.append(len(queries))
        return chances(self, queries, *rest, **given)

    monkeypatch.setattr(Teacher, "chances", counted)
    towers = trained(shop, "encoder", tmp_path / "encoder", "--base", shop["base"], "--mine")
    assert towers["settings"]["distil"] == 0 and towers["data"]["valid_found"] > 0
    good = {(row["query"], row["product_id"]) for row in tiny.judgments().to_pylist() if row["grade"] > 0}
    assert mined[0] and not {(query, name) for query, names in mined[0].items() for name in names} & good
    encoder = ("--encoder", tmp_path / "encoder")
    ranker = trained(shop, "ranker", tmp_path / "ranker", "--base", shop["base"], *encoder, "--mine")
    assert ranker["data"]["valid_unjudged"] > 0 and not asked

    teacher = ("--base", tmp_path / "encoder", "--teacher", tmp_path / "ranker")
    taught = trained(shop, "encoder", tmp_path / "taught", *teacher)
    assert taught["settings"]["distil"] == 1 and len(mined) == 2
    assert len(asked) == 1 and asked[0] > 0
    mine = negatives.mine_negatives  # without the teacher, which holds off all of so few
    monkeypatch.setattr(negatives, "mine_negatives", lambda *given: mine(*given[:-1]))
    trained(shop, "ranker", tmp_path / "again", "--base", shop["base"], *encoder, "--mine", *teacher[2:])
    assert len(doubted) == 1 and doubted[0] > 0
    lineage = json.loads((tmp_path / "taught" / "run.json").read_text())
    assert lineage["data"]["teacher"] == Ranker.open(tmp_path / "ranker").digest
