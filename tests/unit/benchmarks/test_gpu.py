"""Every row of GPU measurements, tiny and on a processor: its code runs, it checks its answers, and it is saved."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import gpu
from benchmarks.gpu_rows import bench, search
from benchmarks.gpu_rows.bench import SMALL, Bench, Shape, attempts
from benchmarks.gpu_rows.synthetic import texts_of, write_models
from encoder.bi_encoder import BiEncoder
from ranker.ranker import Ranker


def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *rows: str, minutes: float = 9) -> tuple[int, dict[str, Any]]:
    arguments = ["gpu", "--device", "cpu", "--small", "--rows", ",".join(rows), "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", [*arguments, "--minutes", str(minutes)])
    status = gpu.main()
    return status, json.loads((tmp_path / "gpu.json").read_text())


@pytest.mark.parametrize("row", [row for row in gpu.ROWS if row != "service"])  # that one: tests/integration
def test_a_row_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str) -> None:
    status, saved = run(tmp_path, monkeypatch, row)
    reported = saved["results"][row]
    assert status == 0 and saved["parameters"]["device"] == "cpu"
    assert "failed" not in json.dumps(reported), reported
    if row == "cross_encoder":
        assert reported["fp16"]["best"] > 0 and reported["fp16"]["largest_difference_to_fp32"] < 0.05
    if row == "item_tower":
        assert reported["products_per_s"] > 0 and reported["tokens_each"] == SMALL.tokens
        assert reported["least_cosine_to_fp32"] > 0.999
    if row == "exact_search":
        ways = [way for name, way in reported.items() if name != "seconds"]
        assert len(ways) == 4
        assert all(way["found_of_exact"] > 0.98 and way["largest_difference"] < 2e-3 for way in ways)


def test_a_row_that_fails_stops_no_other_and_what_was_measured_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Bench) -> dict[str, Any]:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(search, "exact_search", broken)
    status, saved = run(tmp_path, monkeypatch, "ceilings", "exact_search", "item_tower")
    assert status == 1 and saved["results"]["exact_search"]["failed"] == "RuntimeError: out of memory"
    assert saved["results"]["ceilings"]["flops_per_s"] > 0 and saved["results"]["item_tower"]["products_per_s"] > 0
    assert {"date", "hardware", "versions"} <= set(saved)


def test_a_row_that_cannot_end_in_time_is_not_begun() -> None:
    output = gpu._run("service", Bench("cpu", SMALL, Path()), 10.0, False)
    assert output == {"not_begun": f"10 s were left, and it takes up to {gpu.ROWS['service'].seconds}"}


def test_a_way_that_fails_says_so_and_stops_no_other() -> None:
    def broken() -> dict[str, Any]:
        raise ValueError("no kernel\nand more")

    assert dict(attempts({"a": broken, "b": lambda: {"seen": 1}})) == {
        "a": {"failed": "ValueError: no kernel"}, "b": {"seen": 1}
    }  # fmt: skip


def test_a_search_that_finds_other_products_is_seen() -> None:
    rows = np.array([[1, 2, 3, 4], [1, 2, -1, -1]])
    assert search._share(rows, np.array([[1, 2, 7, 8], [1, 2, -1, -1]])) == pytest.approx(4 / 6)


def test_operations_are_counted_as_the_usual_formula_does() -> None:
    # Six layers of MiniLM cost 21.3 MFLOP a token without attention.
    assert Shape().flops(1) == pytest.approx(21.24e6, rel=1e-3)
    assert Shape().flops(64) / 64 - Shape().flops(1) == pytest.approx(2 * 6 * 2 * 63 * 384)


def test_texts_have_the_tokens_asked_for(tmp_path: Path) -> None:
    shape = SMALL.shape
    encoder, ranker = write_models(tmp_path, shape, 16)
    texts = texts_of(shape, 50, (3, 9))
    words = [len(text.split(" ")) for text in texts]
    assert min(words) >= 3 and max(words) <= 9 and texts == texts_of(shape, 50, (3, 9))
    assert [len(ids) - 2 for ids in BiEncoder.open(encoder).tokenize_items(texts)] == words
    assert [len(ids) for ids in Ranker.open(ranker).tokenize_products(texts)] == words


def test_time_is_a_median_of_at_least_five_runs_after_warming(monkeypatch: pytest.MonkeyPatch) -> None:
    # Begin; then start and end of each run, the loop's condition asking once between from the fifth on.
    times = iter([0.0, 0, 1, 1, 3, 3, 6, 6, 10, 10, 15, 99])
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(times))
    runs: list[int] = []
    assert Bench("cpu", SMALL, Path()).seconds_each(lambda: runs.append(1), warm=2) == 3
    assert len(runs) == 2 + 5
