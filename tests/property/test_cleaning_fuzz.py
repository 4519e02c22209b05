"""Whatever a feed holds, cleaning answers with products, quarantined rows or one line of reason."""

import contextlib
import csv
import json
import re
import tempfile
import unicodedata
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.product import AVAILABILITIES, CATALOG_SCHEMA, MICROS, product_text
from catalog.table import ProductTable
from core.errors import FeedError
from indexer.cleaning.availability import parse_availability
from indexer.cleaning.codes import parse_gtin, parse_id
from indexer.cleaning.currency import CURRENCIES
from indexer.cleaning.mapping import FeedMapping
from indexer.cleaning.price import parse_price
from indexer.cleaning.rejection import InvalidValue
from indexer.cleaning.text import clean_link, clean_text, clip
from indexer.feed.read import open_feed
from indexer.products import CleanResult, clean_feed

# Text rich in what goes wrong in feeds: markup, escapes, marks, and letters that combine once others are gone.
_WORDS = (
    "< > & ; </ <b> <p </p> <script> </script> <!-- --> &amp; &lt; &#60; &#38; lt; amp; #38; <x:y> =\" ' e \u0301 "
    "\u200b \u00a0 \x00 \ud800 \u212b <style <br/> ]]> <![CDATA[ word &nbsp; \x1f \ufeff \u0338 \ufdd0"
)
_PIECES = [*_WORDS.split(" "), " "]
_TEXTS = st.text() | st.lists(st.sampled_from(_PIECES), max_size=30).map("".join)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_KEYS = st.sampled_from(
    ["id", "title", "description", "price", "currency", "availability", "gtin", "link", "color", "attributes"]
)
# Keys of any kind beside them: they reach attributes and the counts.
_KEYS = _KEYS | st.sampled_from(["\ud800", "", "a.b", "\n"]) | st.text(max_size=3)
_ROWS = st.lists(st.dictionaries(_KEYS, _JSON, max_size=8), max_size=8)
_MAPPING = FeedMapping.model_validate(
    {
        "fields": {
            n: n for n in ("id", "title", "description", "price", "currency", "availability", "gtin", "link", "color")
        }
    }
    | {"attributes": {"include": "*"}}
)


@given(_TEXTS)
def test_clean_text_is_stable_composed_and_free_of_controls(text: str) -> None:
    once = clean_text(text)
    assert clean_text(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not any(unicodedata.category(letter) in {"Cc", "Cs"} for letter in once)
    assert once == once.strip()
    assert "  " not in once


@given(_TEXTS, st.integers(1, 30))
def test_clipping_clean_text_leaves_it_clean(text: str, limit: int) -> None:
    clipped = clip(clean_text(text), limit)
    assert len(clipped) <= limit
    assert clean_text(clipped) == clipped


@given(_TEXTS)
def test_links_are_addresses_or_nothing(text: str) -> None:
    link = clean_link("https://" + text)
    assert link is None or clean_link(link) == link


_AMOUNTS = st.integers(0, 10**14 - 1)  # in hundredths


@given(_AMOUNTS, st.sampled_from(["{:.2f}", "{:.2f} EUR", "EUR {:.2f}", "€{:,.2f}", "{:,.2f}"]))
def test_prices_survive_writing(cents: int, form: str) -> None:
    assert parse_price(form.format(Decimal(cents) / 100), "EUR") == (cents * (MICROS // 100), "EUR")


@given(_AMOUNTS)
def test_prices_survive_writing_with_a_decimal_comma(cents: int) -> None:
    english = f"{Decimal(cents) / 100:,.2f}"
    german = english.translate(str.maketrans(",.", ".,")) + " €"
    assert parse_price(german, None) == (cents * (MICROS // 100), "EUR")


# As shops write them: numbers, signs, words and what stands between.
_BIT_WORDS = """1 2.50 1.299 1,299.00 12,5 0 99 24 € $ kr Rs EUR usd ₽ 元 ¢ ct / - + > < ( ) % lb from ab inkl. MwSt.
    in stock auf Lager pcs Stück ships h days E+12 ' = " .0 \u066b \u0661 ; , . # none"""
_BITS = st.sampled_from(_BIT_WORDS.split())
_PHRASES = st.lists(_BITS, max_size=8).flatmap(
    lambda bits: st.sampled_from(["", " "]).map(lambda gap: gap.join(bits))
) | st.text(max_size=40)


@settings(max_examples=500, deadline=None)
@given(_PHRASES, st.sampled_from([None, "EUR", "SEK", "IDR", "KWD"]))
def test_any_phrase_is_a_value_or_a_reason(phrase: str, currency: str | None) -> None:
    try:
        micros, code = parse_price(phrase, currency)
        assert micros >= 0
        assert code is None or code in CURRENCIES
        assert any(letter.isdecimal() for letter in phrase)
    except InvalidValue as error:
        assert error.reason.endswith(("_price", "_currency"))
    with contextlib.suppress(InvalidValue):
        assert parse_availability(phrase) in (None, *AVAILABILITIES)
    with contextlib.suppress(InvalidValue):
        gtin = parse_gtin(phrase)
        assert gtin is None or (gtin.isdigit() and parse_gtin(gtin) == gtin)
    with contextlib.suppress(InvalidValue):
        assert parse_id(phrase) == parse_id(phrase).strip() != ""


_SHOP_COLUMNS = (
    "Handle,Title,Option1 Name,Option1 Value,Variant SKU,Variant Price,Variant Inventory Qty",
    "ID,Type,SKU,Name,Parent,Regular price,Sale price,In stock?,Attribute 1 name,Attribute 1 value(s)",
    "sku,store_view_code,name,price,is_in_stock,additional_attributes",
)
_CELLS = st.sampled_from(
    ["", "", "a", "b", "variation", "variable", "id:a", "de", "1", "-1", "x=1,y=2,3", "Default Title"]
)


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(_SHOP_COLUMNS), st.lists(st.lists(_CELLS, min_size=2, max_size=10), min_size=1, max_size=12))
def test_no_row_of_an_export_disappears(header: str, rows: list[list[str]]) -> None:
    text = header + "\n" + "".join(f"{','.join(row)}\n" for row in rows)
    outcome = _outcome(lambda path: path.write_text(text.replace("x=1,y=2,3", '"x=1,y=2,3"')), FeedMapping())
    if outcome:
        result, aside = outcome
        assert result.report.rows_read == result.report.kept + aside + sum(result.report.skipped.values())


@settings(max_examples=60, deadline=None)
@given(_TEXTS, st.sampled_from(["cp1254", "koi8_r", "cp932", "gb18030", "utf-16-le", "utf-32-be", "cp437"]))
def test_any_text_in_any_encoding_is_read_or_refused(text: str, codec: str) -> None:
    data = f"id,title\n1,first\n2,{text}\n".encode(codec, "ignore")
    for mapping in (FeedMapping(), FeedMapping.model_validate({"catalog": {"language": "tr"}})):
        outcome = _outcome(lambda path: path.write_bytes(data), mapping)
        assert outcome is None or outcome[0].report.kept + outcome[1] == outcome[0].report.rows_read


def _outcome(write: Callable[[Path], Any], mapping: FeedMapping) -> tuple[CleanResult, int] | None:
    """The result and the number of quarantined rows, with the columns checked; None for a FeedError of one line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "feed"
        write(path)
        try:
            result = clean_feed(path, mapping, Path(folder) / "work", max_rejected=1)
        except FeedError as error:
            assert "\n" not in str(error)
            return None
        assert result.report.model_dump_json()
        columns = ProductTable(result.columns)
        ids = columns.ids()
        assert len(set(ids)) == len(ids) == result.report.kept
        for place in range(len(columns)):
            assert product_text(columns.row(place, CATALOG_SCHEMA.names))
        return result, pq.read_metadata(result.quarantine).num_rows


@settings(max_examples=150, deadline=None)
@given(_ROWS)
def test_any_json_rows(rows: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    outcome = _outcome(lambda path: path.write_text(lines), _MAPPING)
    if outcome:
        result, aside = outcome
        assert result.report.rows_read == len(rows)
        assert result.report.kept + aside == len(rows)  # nothing is lost without a word


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | _TEXTS.map(lambda text: text.encode("utf-8", "replace")))
def test_any_bytes_as_csv(data: bytes) -> None:
    outcome = _outcome(lambda path: path.write_bytes(b"id,title\n1,first\n" + data), FeedMapping())
    if outcome:
        result, aside = outcome
        assert result.report.kept + aside == result.report.rows_read


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_as_a_feed(data: bytes) -> None:
    outcome = _outcome(lambda path: path.write_bytes(data), FeedMapping())
    assert outcome is None or outcome[0].report.kept + outcome[1] == outcome[0].report.rows_read


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), _TEXTS), min_size=1, max_size=12))
def test_csv_rows_come_back(pairs: list[tuple[int, str]]) -> None:
    def write(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
            writer = csv.writer(file)
            writer.writerows([("id", "title"), *((name, "t " + text.replace("\0", "")) for name, text in pairs)])

    outcome = _outcome(write, FeedMapping())
    assert outcome
    result, aside = outcome
    assert result.report.kept == len({name for name, _ in pairs})
    assert (result.report.rows_read, aside) == (len(pairs), len(pairs) - result.report.kept)


# As a spreadsheet would not write them: some quotes stay open, some stand inside.
_FIELDS = st.sampled_from(["a", '"b"', '"c', 'd"', '"e" f', '"g, h"', '"i""j"', "", '"'])


@settings(max_examples=200, deadline=None)
@given(st.lists(_FIELDS, min_size=1, max_size=8))
def test_no_csv_line_disappears(fields: list[str]) -> None:
    """Each line begins with its own id, which is found in a product or in the quarantine, however quotes stand."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "feed"
        path.write_text("id,title\n" + "".join(f"row{i},{field}\n" for i, field in enumerate(fields)))
        feed = open_feed(path)
        rows = [(row["id"], row["title"]) for batch in feed.batches for row in batch.rows]
        broken = [entry.raw for batch in open_feed(path).batches for entry in batch.broken]
    reported = [name for name, _ in rows] + [raw.split(",")[0] for raw in broken]
    inside = {f"row{i}" for i in range(len(fields)) for _, title in rows if f"row{i}," in title}
    assert sorted([*reported, *inside]) == sorted(f"row{i}" for i in range(len(fields)))
    # A field of several lines ends where a line does, at a quote that nothing but text comes before.
    ends = [re.findall(r"row(\d+),", title)[-1:] for _, title in rows]
    assert all(fields[int(place)] in ('d"', '"') for end in ends for place in end)


_TABLE = pa.table(
    {"id": [str(i) for i in range(50)], "title": ["a title"] * 50, "n": pa.array([1.5] * 50, pa.float32())}
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.binary(min_size=1, max_size=4)), min_size=1, max_size=4))
def test_damaged_parquet(damage: list[tuple[int, bytes]]) -> None:
    def write(path: Path) -> None:
        pq.write_table(_TABLE, path)
        data = bytearray(path.read_bytes())
        for place, value in damage:
            start = 4 + place % (len(data) - 8)
            data[start : start + len(value)] = value
        path.write_bytes(data)

    outcome = _outcome(write, FeedMapping())
    assert outcome is None or outcome[0].report.kept + outcome[1] == outcome[0].report.rows_read
