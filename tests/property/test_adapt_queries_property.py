"""Whatever the titles and attributes are: queries are made the same each time, and what is held out stays apart."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.strings import query_key
from lifecycle.adapt.queries import WAYS, make_queries, split_queries
from lifecycle.adapt.settings import AdaptSettings

_TEXT = st.text(st.sampled_from("ab 1é-/.Я水ンิİ"), min_size=1, max_size=24) | st.text(max_size=12)
_MAYBE = st.none() | _TEXT
_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "title": _TEXT,
            "brand": _MAYBE,
            "product_type": _MAYBE,
            "color": _MAYBE,
            "size": _MAYBE,
            "material": _MAYBE,
            "attributes": st.none() | st.lists(st.tuples(_TEXT, _TEXT), max_size=3),
        }
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(_ROWS, st.dictionaries(_TEXT, st.integers(1, 9), max_size=5), st.integers(1, 40), st.sampled_from(["en", "ja"]))
def test_queries_of_any_products(rows: list[dict[str, Any]], log: dict[str, int], most: int, language: str) -> None:
    wanted = AdaptSettings(queries=most, held_out=0.3)
    made = make_queries(rows, language, log, wanted)
    assert made == make_queries(rows, language, log, wanted)
    keys = [query_key(query.text) for query in made]
    assert len(set(keys)) == len(keys) <= most and all(keys)
    assert {query.way for query in made} <= {*WAYS, "log"}
    assert all(query.row is None or 0 <= query.row < len(rows) for query in made)
    split = split_queries(made, wanted)
    apart = [{tuple(sorted(query_key(q.text).split())) for q in part} for part in (split.train, split.held_out)]
    products = [{q.row for q in part if q.row is not None} for part in (split.train, split.held_out)]
    assert not apart[0] & apart[1] and not products[0] & products[1]
