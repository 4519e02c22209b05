"""What `tandem judgments` prints and leaves, and what it refuses."""

import sys
from pathlib import Path

import pytest

from evaluation.judgments import load_judgments
from lifecycle.cli.app import main

LOG = "query,product_id,position,clicked\n" + "mug,a,1,1\nmug,b,2,0\n" * 20 + ",a,1,1\nmug,c,2,1\n"


def tandem(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["tandem", "judgments", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_one_line_says_what_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "e.csv").write_text(LOG)
    (tmp_path / "s.toml").write_text("[behaviour]\neta = 0.5\n")
    output = tmp_path / "made" / "j.parquet"
    options = ("--events", tmp_path / "e.csv", "--output", output, "--config", tmp_path / "s.toml")
    assert tandem(*options, monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out == (
        f"{output}: 42 rows (1 without query or product); 1 queries, 2 products judged; left out: 33.3% shown fewer "
        "than 5 times (skips are not counted: no sessions); seen at positions 1 to 10: 1.00 0.71 0.58 0.50 0.45 0.41 "
        "0.38 0.35 0.33 0.32, assumed as 1/position^0.5, since fewer than two positions have 50 clicks of products "
        "shown at others too\n"
    )
    table = load_judgments(output)
    assert table["product_id"].to_pylist() == ["a", "b"] and table["grade"][0].as_py() == 1


@pytest.mark.parametrize(
    ("log", "settings", "output", "fault"),
    [
        (LOG, "", "e.csv/j.parquet", "e.csv/j.parquet: cannot be written: "),
        (LOG, "", "j.csv", "j.csv: judgments are written as Parquet; give a file that ends in .parquet"),
        (LOG, "[behaviour]\nimpressions = 0", "j.parquet", "setting behaviour.impressions: Input should be greater"),
        (LOG, "[behavior]\nimpressions = 1", "j.parquet", "setting behavior: Extra inputs are not permitted"),
        (LOG.replace("1\n", "0\n"), "", "j.parquet", "e.csv: no product of the log was ever clicked"),
        (LOG.replace("clicked", "opened"), "", "j.parquet", "e.csv: no column clicked; it has query, product_id, pos"),
        (None, "", "j.parquet", "e.csv: no such file; give events as Parquet, CSV or JSONL"),
    ],
)
def test_wrong_input_is_one_line(
    log: str | None,
    settings: str,
    output: str,
    fault: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    if log is not None:
        Path("e.csv").write_text(log)
    Path("s.toml").write_text(settings)
    assert tandem("--events", "e.csv", "--output", output, "--config", "s.toml", monkeypatch=monkeypatch) == 2
    printed_text = capsys.readouterr().err
    assert printed_text.startswith(f"tandem: {fault}") and printed_text.count("\n") == 1, printed_text
