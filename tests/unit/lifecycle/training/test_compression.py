"""From files to a smaller model's folder, and the command that does it."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from teachers import TEXTS, judgments, write_ranker, write_towers
from typer.testing import CliRunner

from core.errors import TandemError
from encoder.bi_encoder import BiEncoder
from lifecycle.cli import app as cli
from lifecycle.examples.products import Products
from lifecycle.tracking.lineage import Lineage
from lifecycle.training.compression import ranker_pairs
from ranker.ranker import Ranker
from training.examples import JudgedQueries


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "feed.csv").write_text("id,title\n" + "".join(f"{name},{text}\n" for name, text in TEXTS.items()))
    pq.write_table(judgments(), folder / "judgments.parquet")
    write_towers(folder / "towers")
    write_ranker(folder / "ranker")
    return folder


def run(shop: Path, kind: str, output: Path, *options: str) -> Any:
    teacher = shop / ("towers" if kind == "encoder" else "ranker")
    files = ["--catalog", shop / "feed.csv", "--judgments", shop / "judgments.parquet", "--output", output]
    command = ["compress", kind, "--from", teacher, *files, "--track", "off", *options]
    return CliRunner().invoke(cli.app, [str(part) for part in command], catch_exceptions=False)


def test_a_ranker_is_compressed_from_files(shop: Path, tmp_path: Path) -> None:
    options = ("--layers", "3", "--ffn-share", "0.5", "--trim-vocabulary", "--encoder", str(shop / "towers"))
    outcome = run(shop, "ranker", tmp_path / "small", *options)
    assert outcome.exit_code == 0 and "ms a pair" in outcome.output
    row = json.loads((tmp_path / "small/compression.json").read_text())
    report = json.loads((tmp_path / "small/report.json").read_text())
    assert (report["settings"]["layers"], report["settings"]["ffn_share"]) == (3, 0.5)
    lineage = Lineage.model_validate_json((tmp_path / "small/run.json").read_bytes())
    assert lineage.data["teacher"] == Ranker.open(shop / "ranker").digest
    assert lineage.data["towers"] == BiEncoder.open(shop / "towers").digest
    assert (lineage.kind, lineage.base) == ("ranker", "tiny")
    assert row["bytes"] == sum(path.stat().st_size for path in Ranker.open(tmp_path / "small").files())
    assert row["ndcg"] == pytest.approx(report["best"], abs=0.05)  # int8 and fp32 of the same weights
    valid = {query for query, *_, split in zip(*judgments().to_pydict().values(), strict=True) if split == "valid"}
    assert 0 < report["mix"]["queries"] <= len(valid)  # among what the towers and words find


def test_a_query_tower_is_compressed_from_files(shop: Path, tmp_path: Path) -> None:
    assert run(shop, "encoder", tmp_path / "small", "--layers", "2", "--side", "query").exit_code == 0
    assert BiEncoder.open(tmp_path / "small").spec.query_model == "query.onnx"
    assert json.loads((tmp_path / "small/run.json").read_text())["kind"] == "encoder"


def test_the_files_knobs_reach_the_student_and_options_win_over_them(shop: Path, tmp_path: Path) -> None:
    config = tmp_path / "compress.toml"
    config.write_text('[student]\nloss = "margin"\nlayers = 4\nmax_steps = 1')
    assert run(shop, "ranker", tmp_path / "small", "--config", str(config), "--layers", "2").exit_code == 0
    settings = json.loads((tmp_path / "small/report.json").read_text())["settings"]
    assert (settings["loss"], settings["layers"], settings["max_steps"]) == ("margin", 2, 1)
    config.write_text("[student]\ntemperature = 2")
    with pytest.raises(TandemError, match=r"^\[student\] temperature: Extra inputs are not permitted$"):
        run(shop, "ranker", tmp_path / "small", "--config", str(config))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("encoder", ("--encoder", "x"), "--encoder is for"),
        ("ranker", ("--side", "query"), "--side is for"),
        ("encoder", ("--side", "query", "--trim-vocabulary"), "share a tokenizer"),
        ("ranker", ("--layers", "9"), "1 to 6"),
    ],
)
def test_what_does_not_fit_together_is_one_line(
    shop: Path, tmp_path: Path, kind: str, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(TandemError, match=message) as error:
        run(shop, kind, tmp_path / "small", *options)
    assert "\n" not in str(error.value)


def test_the_teacher_is_asked_of_judged_and_found_products() -> None:
    texts = ["red kettle", "blue kettle", "spade", "red kettle"]
    products = Products(["a", "b", "c", "d"], texts, texts, [None] * 4)
    train = JudgedQueries("train", {"kettle": {"c": 0.0}, "spade": {"c": 1.0}})
    pairs = ranker_pairs(train, products, 5)
    assert pairs[0] == ("kettle", "spade") and len(pairs) == len(set(pairs)) == 4
    assert set(pairs[1:]) == {("kettle", "red kettle"), ("kettle", "blue kettle"), ("spade", "spade")}
    assert ranker_pairs(train, products, 0) == [("kettle", "spade"), ("spade", "spade")]
