import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from core.errors import FeedError
from evaluation.judgments import JUDGMENTS_SCHEMA, load_judgments, split_of
from lifecycle.examples.behaviour import (
    Behaviour,
    BehaviourJudgments,
    ExposureCounts,
    _mean_worth,
    make_judgments,
    prior_strength,
    scale_grades,
    smooth_worth,
)
from lifecycle.examples.events import read_events

NAMES = ("query", "product_id", "position", "clicked", "session")
LENIENT = Behaviour(impressions=1, examined=0.1, skipped=1)
Row = tuple[str, str, int, int, str]


def written(path: Path, rows: list[Row], **more: list) -> Path:
    table = pa.table(dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True)) | more)
    pq.write_table(table, path / "e.parquet")
    return path / "e.parquet"


def made(path: Path, rows: list[Row], settings: Behaviour = LENIENT, **more: list) -> BehaviourJudgments:
    return make_judgments(read_events(written(path, rows, **more)), settings)


def grades(result: BehaviourJudgments) -> dict[tuple[str, str], float]:
    return {(row["query"], row["product_id"]): row["grade"] for row in result.table.to_pylist()}


def pairs(query: list[int], examined: list[float], worth: list[float], p: float = 1.0) -> ExposureCounts:
    """Of purchases and nothing else, all at one position that is seen with probability `p`."""
    number, times, sums = np.array(query), np.array(examined), np.array(worth)
    expected = times * sums.sum() / times.sum()
    return ExposureCounts(number, np.arange(len(number)), times / p, sums, times, times * p, sums, sums, expected)


def test_smoothing_by_hand() -> None:
    # Query 0: 4 of 10 and 0 of 2, query 1: 8 of 8; the log: 12 of 20. Query 0 with strength 2: (4 + 2*.6) / 14.
    values = smooth_worth(pairs([0, 0, 1], [10, 2, 8], [4, 0, 8]), np.array([10.0, 2, 8]), 2.0)
    first, second = 5.2 / 14, (8 + 1.2) / 10
    assert values == pytest.approx([(4 + 2 * first) / 12, 2 * first / 4, (8 + 2 * second) / 10])


def test_strength_by_hand() -> None:
    # 7 and 3 where 5 and 5 are expected: squares (4 + 4) / 10 = .8. By chance the two vary by 7 - 10/4 and 3 - 10/4, 5
    # in all, of which half is in each share: (5/4 + 5/4) / 10 = .25. Products always or never chosen would vary by
    # (100 - 10) / 4 each, 45 in all: (45/4 + 45/4) / 10 = 2.25. So s + 1 = 2.25 / .55 = 45/11.
    assert prior_strength(pairs([0, 0], [10, 10], [7, 3])) == pytest.approx(34 / 11)
    assert prior_strength(pairs([0, 0], [10, 10], [5, 5])) == 1000  # no more than chance
    assert prior_strength(pairs([0, 1], [10, 10], [7, 3])) == 1000  # one product a query: nothing to tell by
    assert prior_strength(pairs([0, 0], [10, 10], [10, 0])) == 1


def test_strength_is_that_of_the_beta_distribution_drawn_from() -> None:
    random = np.random.default_rng(3)
    query = np.repeat(np.arange(300), 20)
    p, shown = 0.5, random.integers(5, 100, len(query))
    clicks = random.binomial(shown, p * random.beta(3, 9, len(query)))
    result = prior_strength(pairs(list(query), list(shown * p), list(clicks), p))
    assert result == pytest.approx(12, rel=0.15)


def test_what_is_expected_of_a_place_by_hand() -> None:
    # 10 of 20 at the first, 1 of 20 together at 40 and 60, none of 0.1 at 3: 11 / 40.1 of all.
    position, examined = np.array([1, 3, 40, 60]), np.array([20, 0.1, 10, 10])
    all_of_it = 10 * 11 / 40.1
    far = (1 + all_of_it) / 30
    result = _mean_worth(position, examined, np.array([10.0, 0, 1, 0]))
    assert result == pytest.approx([(10 + all_of_it) / 30, all_of_it / 10.1, far, far])


def test_grades_by_hand() -> None:
    # Bests .4, .2 and .1: the median is .2, which the third query's best is measured by.
    values = scale_grades(np.array([0, 0, 1, 2, 2]), np.array([0.4, 0.1, 0.2, 0.1, 0.05]))
    assert values == pytest.approx([1, 0.25, 1, 0.5, 0.25])


def test_worth_of_clicks_additions_and_purchases(tmp_path: Path) -> None:
    rows: list[Row] = [("mug", name, 1, int(name != "d"), "") for name in "abcd"]
    result = made(
        tmp_path,
        rows,
        LENIENT.model_copy(update={"strength": 1e-9}),
        added=[False, True, True, False],
        purchased=[None, None, True, None],
    )
    actual = grades(result)
    assert [actual["mug", name] for name in "cbad"] == pytest.approx([1, 0.5, 0.25, 0], abs=1e-6)


def test_what_was_perhaps_never_seen_is_not_judged(tmp_path: Path) -> None:
    rows: list[Row] = []
    for session in ("s1", "s2"):
        rows += [("mug", "above", 2, 0, session), ("mug", "good", 3, 1, session), ("mug", "below", 9, 0, session)]
    rows += [("mug", "often", 1, 0, f"t{i}") for i in range(5)]
    settings = Behaviour(impressions=2)
    result = made(tmp_path, rows, settings)
    assert set(grades(result)) == {("mug", "above"), ("mug", "good"), ("mug", "often")}
    assert result.pairs == 4 and result.left_out["never clicked and perhaps never seen"] == 1
    # Skips are told by sessions alone, and one is not enough.
    lone = [(*row[:4], "") for row in rows]
    assert set(grades(made(tmp_path, lone, settings))) == {("mug", "good"), ("mug", "often")}
    assert set(grades(made(tmp_path, rows, Behaviour(impressions=2, skipped=3)))) == set(
        grades(made(tmp_path, lone, settings))
    )


def test_few_impressions_and_queries_without_a_click_are_left_out(tmp_path: Path) -> None:
    rows: list[Row] = [("mug", "a", 1, i % 2, "") for i in range(6)] + [("mug", "b", 1, 0, "") for _ in range(6)]
    rows += [("mug", "rare", 1, 1, "")] + [("hat", "a", 1, 0, "") for _ in range(9)]
    result = made(tmp_path, rows, Behaviour())
    assert set(grades(result)) == {("mug", "a"), ("mug", "b")}
    assert list(result.left_out.values()) == [1, 0, 1]


def test_queries_alike_are_one_as_most_often_written_and_split_as_judgments_are(tmp_path: Path) -> None:
    rows: list[Row] = [("Red  Mug", "a", 1, 1, ""), ("red mug", "b", 1, 0, ""), ("red mug ", "a", 1, 1, "")]
    result = made(tmp_path, rows)
    assert result.table.schema == JUDGMENTS_SCHEMA
    assert result.table["query"].unique().to_pylist() == ["Red Mug"]
    assert set(result.table["split"].to_pylist()) == {split_of("red mug")}
    pq.write_table(result.table, tmp_path / "j.parquet")
    assert load_judgments(tmp_path / "j.parquet").equals(result.table)


def test_every_format_reads_the_same(tmp_path: Path) -> None:
    rows: list[Row] = [("007", "00123", 1, 1, "s"), ("007", "00124", 2, 0, ""), ("2020-01-02", "00123", 2, 1, "t")]
    table = pq.read_table(written(tmp_path, rows))
    pc.write_csv(table, tmp_path / "e.csv")
    (tmp_path / "e.jsonl").write_text("\n".join(map(json.dumps, table.to_pylist())) + "\n")
    logs = [read_events(tmp_path / f"e.{suffix}") for suffix in ("parquet", "csv", "jsonl")]
    for log in logs:
        assert (log.queries, log.products.to_pylist()) == (["007", "2020-01-02"], ["00123", "00124"])
        assert log.rows["outcome"].to_pylist() == [1, 0, 1]
        assert log.rows.drop_columns("session").equals(logs[0].rows.drop_columns("session"))
        assert log.rows["session"].is_valid().to_pylist() == [True, False, True]


def test_rows_without_query_or_product_are_counted_and_passed_over(tmp_path: Path) -> None:
    text = "query,product_id,position,clicked\n,a,1,1\n\u200b,a,1,1\nmug,,1,0\nmug,a,1.0,TRUE\nmug,b,1,0\n"
    (tmp_path / "e.csv").write_text(text)
    log = read_events(tmp_path / "e.csv")
    assert (log.read, log.nameless, log.sessions) == (5, 3, False)
    assert grades(make_judgments(log, LENIENT))["mug", "a"] == 1


_HEADER = "query,product_id,position,clicked\n"
_ONE_BAD = "cannot read 1 of 1 rows: 1 row, as row 1: "


@pytest.mark.parametrize(
    ("name", "text", "fault"),
    [
        ("e.txt", "x", "events are read from .parquet, .csv or .jsonl files"),
        ("e.csv", "query,position\na,1\n", "no column product_id, clicked; it has query, position"),
        (
            "e.csv",
            "query,product_id,position,clicked\na,b,-1,1\n",
            "cannot read 1 of 1 rows: 1 row, as row 1: position holds '-1'",
        ),
        (
            "e.csv",
            "query,product_id,position,clicked\na,b,0,1\n",
            "cannot read 1 of 1 rows: 1 row, as row 1: position holds '0'",
        ),
        (
            "e.csv",
            "query,product_id,position,clicked\na,b,1.5,1\n",
            "cannot read 1 of 1 rows: 1 row, as row 1: position holds '1.5'",
        ),
        (
            "e.csv",
            "query,product_id,position,clicked\na,b,,1\n",
            "cannot read 1 of 1 rows: 1 row, as row 1: position holds ''",
        ),
        ("e.csv", _HEADER + "a,b,x,1\n", _ONE_BAD + "position"),
        (
            "e.csv",
            "query,product_id,position,clicked\na,b,1,2\n",
            "cannot read 1 of 1 rows: 1 row, as row 1: clicked holds '2'",
        ),
        (
            "e.csv",
            "query,product_id,position,clicked\na,b,1,\n",
            "cannot read 1 of 1 rows: 1 row, as row 1: clicked holds ''",
        ),
        ("e.csv", "query,product_id,position,clicked\n", "holds no events"),
        ("e.csv", "", "cannot be read as csv"),
        ("e.csv", "query,product_id,position,clicked\n,b,1,1\n", "no row has both a query and a product_id"),
        ("e.jsonl", "[1]\n", "the first line is no object with query, product_id, position, clicked"),
        ("e.jsonl", "query\n", "the first line is no JSON"),
        (
            "e.jsonl",
            '{"query": "a", "product_id": "b", "position": 1, "clicked": null}\n',
            "cannot read 1 of 1 rows: 1 row, as row 1: clicked holds ''; it must be true or false, 1 or 0",
        ),
        (
            "e.jsonl",
            '{"query": "a", "product_id": ["b"], "position": 1, "clicked": 1}\n',
            "column product_id holds list<item: string>, which cannot be read",
        ),
        ("e.parquet", "PAR1", "cannot be read as parquet"),
    ],
)
def test_a_log_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, name: str, text: str, fault: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(FeedError) as refused:
        read_events(tmp_path / name)
    message = str(refused.value)
    assert message.startswith(f"{tmp_path / name}: {fault}") and "\n" not in message, message


_GOOD_CSV = "query,product_id,position,clicked\n" + "mug,a,1,1\nmug,b,2,0\n" * 500
_GOOD_JSON = (
    '{"query": "mug", "product_id": "a", "position": 1, "clicked": true}\n'
    '{"query": "mug", "product_id": "b", "position": 2, "clicked": false}\n'
) * 500


@pytest.mark.parametrize(
    ("name", "log", "row", "kind"),
    [
        ("e.csv", _GOOD_CSV, b"mug,c,zero,1\n", "position holds 'zero'"),
        ("e.csv", _GOOD_CSV, b"mug,c,0,1\n", "position holds '0'"),
        ("e.csv", _GOOD_CSV, b"mug,c,1e400,1\n", "position holds '1e400'"),
        ("e.csv", _GOOD_CSV, b"mug,c,3,maybe\n", "clicked holds 'maybe'"),
        ("e.csv", _GOOD_CSV, b"mug,c,3\n", "the line holds 3 fields where the header has 4"),
        ("e.csv", _GOOD_CSV, b"mug \xe9,c,3,1\n", "query is not UTF-8"),
        ("e.csv", _GOOD_CSV, b"mug \xe9,c,3\n", "the line holds 3 fields where the header has 4"),
        ("e.jsonl", _GOOD_JSON, b'{"query": "mug", "product_id": "c", "position"\n', "the line holds no JSON object"),
        ("e.jsonl", _GOOD_JSON, b"[1]\n", "the line holds no JSON object"),
        ("e.jsonl", _GOOD_JSON, b'{"query": "mug \xe9", "product_id": "c"}\n', "query is not UTF-8"),
        (
            "e.jsonl",
            _GOOD_JSON,
            b'{"query": "mug", "product_id": "c", "position": "1st", "clicked": true}\n',
            "position holds '1st'",
        ),
        ("e.jsonl", _GOOD_JSON, b'{"query": ["mug"], "product_id": "c", "position": 1, "clicked": 1}\n', "the line"),
        ("e.jsonl", _GOOD_JSON, b"[" * 100_000 + b"\n", "the line holds no JSON object"),
    ],
)
def test_one_bad_row_of_a_thousand_is_left_out_and_named(
    tmp_path: Path, name: str, log: str, row: bytes, kind: str
) -> None:
    (tmp_path / name).write_bytes(log.encode() + row + log.partition("\n")[2].encode())
    events = read_events(tmp_path / name)
    rows = len(log.splitlines()) - (name == "e.csv") + len(log.splitlines()) - 1
    assert (events.read, len(events.rows), events.nameless) == (rows + 1, rows, 0)
    assert events.products.to_pylist() == ["a", "b"]
    assert events.faults.rows == 1
    assert events.faults.line().startswith(f"1 row, as row 1001: {kind}"), events.faults.line()
    assert "could not read 1 row, as row 1001: " in make_judgments(events, Behaviour()).line()


def test_ids_are_read_as_a_feed_writes_them(tmp_path: Path) -> None:
    """Of decimals, floats and texts with blanks around them."""
    ids = (pa.array([Decimal("12.000"), Decimal("7.500")]), pa.array([12.0, 7.5]), pa.array([" 12", "7.5 "]))
    for column in ids:
        table = pa.table({"query": ["a", "a"], "product_id": column, "position": [1, 2], "clicked": [1, 0]})
        pq.write_table(table, tmp_path / "e.parquet")
        assert read_events(tmp_path / "e.parquet").products.to_pylist() == ["12", "7.5"]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([("a", "b", 1, 0, "")], "no product of the log was ever clicked"),
        ([("a", "b", 1, 1, ""), ("a", "b", 1, 0, "")], "every product judged gets the same grade"),
    ],
)
def test_a_log_that_teaches_nothing_is_refused(tmp_path: Path, rows: list[Row], fault: str) -> None:
    with pytest.raises(FeedError, match=fault):
        made(tmp_path, rows)


def test_nothing_seen_often_enough_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeedError, match="nothing to judge in 1 pairs of query and product: 1 shown fewer than 5 times"):
        made(tmp_path, [("a", "b", 1, 1, "")], Behaviour())


def test_a_click_is_worth_no_more_than_an_addition() -> None:
    with pytest.raises(ValidationError, match="give added >= clicked"):
        Behaviour(clicked=0.6)


Simulated = tuple[np.ndarray, np.ndarray, np.ndarray, Path]


def simulated(path: Path, attraction: np.ndarray, lists: int, eta: float, knows: float, moves: float) -> Simulated:
    """A log of the 8 products that a ranker puts first, which knows attractions that well and moves them that much."""
    random = np.random.default_rng(11)
    p = np.arange(1, 9) ** -eta
    known = np.log(attraction) + random.normal(0, knows, attraction.shape)
    query = random.integers(0, len(attraction), lists)
    shown = np.argsort(-(known[query] + random.normal(0, moves, (lists, attraction.shape[1]))), axis=1)[:, :8]
    clicked = random.random(shown.shape) < p * attraction[query[:, None], shown]
    counts = np.zeros((2, *attraction.shape))
    np.add.at(counts, (clicked.astype(int), query[:, None], shown), 1)
    columns = {
        "query": np.repeat(query, 8).astype(str).tolist(),
        "product_id": shown.ravel().astype(str).tolist(),
        "position": np.tile(np.arange(1, 9), lists),
        "clicked": clicked.ravel(),
        "session": np.repeat(np.arange(lists), 8),
    }
    pq.write_table(pa.table(columns), path / "e.parquet")
    return p, attraction, counts[1] / np.maximum(counts.sum(0), 1), path / "e.parquet"


def agreement(truth: np.ndarray, values: np.ndarray) -> float:
    """Share of the pairs of a query's products that are in their true order, a tie being half; NaN is in none."""
    right = total = 0.0
    for true, value in zip(truth, values, strict=True):
        judged = np.flatnonzero(~np.isnan(value))
        ahead = true[judged][:, None] > true[judged]
        difference = value[judged][:, None] - value[judged]
        right += (ahead & (difference > 0)).sum() + (ahead & (difference == 0)).sum() / 2
        total += ahead.sum()
    return right / total


def by_pair(result: BehaviourJudgments, shape: tuple[int, ...]) -> np.ndarray:
    actual = np.full(shape, np.nan)
    for (query, product), value in grades(result).items():
        actual[int(query), int(product)] = value
    return actual


def test_a_simulated_log_gives_back_what_made_it(tmp_path: Path) -> None:
    attraction = np.random.default_rng(0).beta(1, 3, (100, 12))
    p, attraction, rates, path = simulated(tmp_path, attraction, lists=40_000, eta=0.8, knows=2, moves=0.7)
    result = make_judgments(read_events(path), Behaviour())
    assert result.propensities.why is None
    assert result.propensities.at(np.arange(1, 9)) == pytest.approx(p, rel=0.08)
    assert result.propensities.eta == pytest.approx(0.8, abs=0.05)
    grade = by_pair(result, attraction.shape)
    judged = ~np.isnan(grade)
    assert judged.mean() > 0.8
    assert agreement(attraction, grade) > agreement(attraction, np.where(judged, rates, np.nan)) + 0.05
    assert agreement(attraction, grade) > 0.85
    assert np.corrcoef(grade[judged], attraction[judged])[0, 1] > 0.85


def test_rare_clicks_are_weighed_and_not_taken_at_their_word(tmp_path: Path) -> None:
    attraction = np.random.default_rng(0).beta(0.6, 11, (1500, 20))
    p, attraction, rates, path = simulated(tmp_path, attraction, lists=30_000, eta=1.0, knows=1.5, moves=0.4)
    result = make_judgments(read_events(path), Behaviour())
    assert result.propensities.at(np.arange(1, 9)) == pytest.approx(p, rel=0.25)
    assert result.strength == pytest.approx(11.6, rel=0.5)
    grade = by_pair(result, attraction.shape)
    assert agreement(attraction, grade) > agreement(attraction, np.where(np.isnan(grade), np.nan, rates))
