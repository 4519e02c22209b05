"""Typed columns of random products, batch by batch, against the products one by one."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from builders import product, write_columns
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.column_file import open_columns
from catalog.columns import Kind, type_levels
from catalog.table import ProductTable
from indexer.columns import ColumnSettings
from indexer.columns import write_columns as write_typed
from indexer.validate import validate_columns
from text.amounts import read_amount

WORDS = st.sampled_from(("red", "Blue", "äpfel", "日本", "a/b", "x, y", "y, z", "1/2 in", "🔥"))
ATTRIBUTES = {
    "word": WORDS,
    "number": st.sampled_from(("5 V", "12V", "7.5 v", "0 V", "-3 V")),
    "truth": st.sampled_from(("Yes", "no", "TRUE")),
    "day": st.sampled_from(("2026-01-31", "1969-12-31")),
    "mixed": st.sampled_from(("5 V", "red", "2026-01-31")),
}
SECONDS = {"2026-01-31": 1_769_817_600.0, "1969-12-31": -86_400.0}
PRODUCTS = st.lists(
    st.fixed_dictionaries(
        {
            "title": WORDS,
            "brand": st.none() | WORDS,
            "product_type": st.none() | st.sampled_from(("A", "A > B", "A>B > C", "D")),
            "price_micros": st.none() | st.integers(0, 10**12),
            "currency": st.sampled_from((None, "EUR", "USD")),
            "popularity": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "link": st.none() | st.just("http://x.example"),
            "attributes": st.none()
            | st.fixed_dictionaries({}, optional=ATTRIBUTES).map(lambda pairs: list(pairs.items()) or None),
        }
    ),
    min_size=1,
    max_size=9,
)


@settings(max_examples=100, deadline=None)
@given(PRODUCTS, st.integers(1, 4))
def test_columns_hold_what_products_have(rows: list[dict[str, Any]], batch: int) -> None:
    products = [product(f"p{i}", **row) for i, row in enumerate(rows)]
    with TemporaryDirectory() as folder:
        table = ProductTable(write_columns(Path(folder) / "products.arrow", products, batch))
        report = write_typed(table, ColumnSettings("en", "EUR"), Path(folder) / "c.arrow", lambda *_: None)
        columns = open_columns(Path(folder) / "c.arrow")
        validate_columns(columns, table)

        def values(name: str) -> list[Any]:
            column = columns.column(name)
            if column.kind is Kind.strings:
                pairs = zip(column.offsets[:-1], column.offsets[1:], strict=True)
                return [[column.values[code] for code in column.codes[a:b]] or None for a, b in pairs]
            if column.kind in (Kind.string, Kind.boolean):
                return [column.values[code] if code >= 0 else None for code in column.codes]
            if column.kind is Kind.text:
                return column.present.tolist()
            return [None if np.isnan(number) else number for number in column.numbers]

        for name in ("title", "brand", "currency"):
            assert values(name) == [row[name] for row in products]
            assert list(columns.column(name).values) == sorted({row[name] for row in products if row[name]})
        assert values("product_type") == [type_levels(row["product_type"] or "") or None for row in products]
        assert values("price") == [row["price_micros"] if row["currency"] != "USD" else None for row in products]
        assert values("popularity") == [row["popularity"] for row in products]
        assert values("link") == [row["link"] is not None for row in products]
        for name in ATTRIBUTES:
            own = [dict(row["attributes"] or ()).get(name) for row in products]
            if not any(own):
                assert f"attributes.{name}" not in columns.names
                continue
            expected = {
                "string": own,
                "number": [None if one is None else amount(one) for one in own],
                "boolean": [None if one is None else str(one.lower() != "no").lower() for one in own],
                "date": [SECONDS.get(one or "") for one in own],
                "strings": [sorted(one.split(", ")) if one else None for one in own],
            }
            field = report.fields[f"attributes.{name}"]
            assert values(f"attributes.{name}") == expected[field.kind]
            assert field.filled == sum(one is not None for one in expected[field.kind])


def amount(text: str) -> float | None:
    read = read_amount(text)
    return None if read is None else read.value
