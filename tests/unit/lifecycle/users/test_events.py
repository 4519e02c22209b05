import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import FeedError
from lifecycle.users.columns import choose_columns
from lifecycle.users.events import read_behaviour

IDS = ["0123", "0456", "pan"]
DAY = 86_400


def jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(user: str = "u", product: str = "pan", time: object = "2020-09-16", **further: object) -> dict:
    return {"customer_id": user, "article_id": product, "t_dat": time, **further}


def test_events_come_in_the_order_of_users_and_times(tmp_path: Path) -> None:
    rows = [row("b", time="2020-09-18"), row("a", "0456", "2020-09-17"), row("b", "0123", "2020-09-16")]
    events, counts = read_behaviour(jsonl(tmp_path / "b.jsonl", rows), IDS)
    by_user = {tuple(events.product[events.user == user].tolist()) for user in (0, 1)}
    assert by_user == {(0, 2), (1,)} and events.users == 2
    assert counts.lines() == ["3 rows read, 3 events of 2 users kept"]
    assert events.action.tolist() == [3, 3, 3] and np.isnan(events.price).all() and set(events.channel) == {-1}


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_all_formats_say_the_same(tmp_path: Path, kind: str) -> None:
    rows = [
        row("a", "0123", "2020-09-16T12:00:00Z", action="view", price="2.5", channel="web", age="31"),
        row("a", "pan", "2020-09-17T00:00:00Z", action="Add to cart", price="", channel="shop", age="17"),
    ]
    path = tmp_path / f"b.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif kind == "csv":
        path.write_text("\n".join([",".join(rows[0]), *(",".join(map(str, one.values())) for one in rows)]) + "\n")
    else:
        jsonl(path, rows)
    events, _ = read_behaviour(path, IDS)
    start = int(datetime(2020, 9, 16, 12, tzinfo=UTC).timestamp())
    assert events.time.tolist() == [start, start + DAY // 2] and events.action.tolist() == [1, 2]
    assert events.price[0] == 2.5 and np.isnan(events.price[1])
    assert [events.channels[code] for code in events.channel] == ["web", "shop"]
    assert [events.values["age"][code] for code in events.segments["age"]] == ["25-34", "0-17"]


@pytest.mark.parametrize(
    "time",
    [
        "2020-09-16",
        "2020-09-16 00:00:00",
        "20200916",
        1_600_214_400,
        1_600_214_400_000,
        "1600214400000000",
        "2020-09-16T02:00:00+02:00",
    ],
)
def test_times_in_use_are_read(tmp_path: Path, time: object) -> None:
    events, _ = read_behaviour(jsonl(tmp_path / "b.jsonl", [row(time=time)]), IDS)
    assert events.time.tolist() == [1_600_214_400]


def test_times_of_arrow_are_read(tmp_path: Path) -> None:
    times = [date(2020, 9, 16), date(2020, 9, 17)]
    table = pa.table({"user": ["a", "b"], "product": ["pan", "pan"], "time": pa.array(times, pa.date32())})
    pq.write_table(table, tmp_path / "b.parquet")
    events, _ = read_behaviour(tmp_path / "b.parquet", IDS)
    assert sorted(events.time.tolist()) == [1_600_214_400, 1_600_214_400 + DAY]


def test_dirty_rows_are_left_out_and_counted_in_a_line_each(tmp_path: Path) -> None:
    rows = [row(str(number)) for number in range(40)]
    rows += [row(user=""), row(product="unknown"), row(product="unknown"), row(time="soon"), row(time="2099-01-01")]
    rows += [row(action="dance"), row(product="123"), row(user="gone")]
    now = datetime(2021, 1, 1, tzinfo=UTC).timestamp()
    events, counts = read_behaviour(
        jsonl(tmp_path / "b.jsonl", [one | {"action": one.get("action")} for one in rows]),
        IDS,
        forget=lambda user: user == "gone",
        now=now,
    )
    assert len(events) == 41
    assert counts.lines() == [
        "48 rows read, 41 events of 41 users kept",
        "1 rows without user, product or time left out",
        "2 rows of 1 products that the catalog lacks left out",
        "1 rows matched by their ids without leading zeros",
        "1 rows of users to forget left out",
        "2 unreadable rows left out, first row 44: t_dat holds 'soon'; write times as 2026-11-28T22:45:00Z or seconds "
        "since 1970",
        "1 unreadable rows left out, first row 46: action holds 'dance'; it must be view, cart or purchase",
    ]


def test_an_id_without_leading_zeros_is_matched_where_one_product_can_be_meant(tmp_path: Path) -> None:
    rows = [row(product="123"), row(product="7"), row(product="pan")]
    events, counts = read_behaviour(jsonl(tmp_path / "b.jsonl", rows), ["0123", "07", "007", "pan"])
    assert events.product.tolist() == [0, 3] and counts.respelled == 1 and counts.unknown == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"customer_id": "a", "t_dat": 1}], "no column is the product; name it, as in --column product=COLUMN"),
        ([row(product="x")], "no event is left: 1 rows read, 0 events of 0 users kept; 1 rows of 1 products"),
        ([row(time="soon"), row()], "cannot read 1 of 2 rows"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path: Path, rows: list[dict], message: str) -> None:
    with pytest.raises(FeedError) as error:
        read_behaviour(jsonl(tmp_path / "b.jsonl", rows), IDS)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_columns_are_chosen_by_names_in_use_or_as_given() -> None:
    path = Path("b.csv")
    chosen = choose_columns(
        path, ["Customer_ID", "item_id", "timestamp", "event", "age", "x", "y"], ["price=x", "club=y"]
    )
    assert chosen.fields == {
        "user": "Customer_ID",
        "product": "item_id",
        "time": "timestamp",
        "action": "event",
        "price": "x",
    }
    assert chosen.segments == {"age": "age", "club": "y"}
    with pytest.raises(FeedError, match="no column z"):
        choose_columns(path, ["user", "product", "time"], ["user=z"])
    with pytest.raises(FeedError, match="write FIELD=COLUMN"):
        choose_columns(path, ["user", "product", "time"], ["user"])
