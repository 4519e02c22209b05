"""Whatever the queries and the candidates are: digits stay, seeds decide, and nothing held off is mined."""

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.strings import query_key
from lifecycle.examples.augment import Augmentation, augment
from lifecycle.examples.candidates import RetrievedProducts
from lifecycle.examples.mining import Mining, mine
from lifecycle.examples.products import Products
from training.examples import GOOD, POOR, JudgedQueries

_ALWAYS = Augmentation(typing=1, dropped=1, reordered=1)
_QUERIES = st.text(st.sampled_from("abeéßİд電ِ1२/-. "), max_size=40) | st.text(max_size=20)
_COUNT = 12


def _numbers(query: str) -> list[str]:
    return [word for word in query.split() if re.search(r"\d", word)]


@given(st.lists(_QUERIES, max_size=4), st.integers(0, 9))
def test_variants_keep_numbers_and_repeat_by_seed(queries: list[str], seed: int) -> None:
    settings = _ALWAYS.model_copy(update={"seed": seed})
    variants = augment(queries, settings)
    assert variants == augment(queries, settings)
    assert list(map(_numbers, variants)) == list(map(_numbers, queries))
    assert all(variant.split() or not query.split() for query, variant in zip(queries, variants, strict=True))


@given(
    st.lists(st.sampled_from(["red mug", "Red  Mug", "red mug large", "hat", "big red mug", "cap"]), min_size=_COUNT),
    st.lists(st.sampled_from([0.0, POOR, 0.4, GOOD, 1.0]), min_size=_COUNT, max_size=_COUNT),
    st.integers(2, _COUNT),
    st.lists(st.permutations(range(_COUNT)), min_size=2, max_size=2),
    st.lists(st.floats(-1, 1, width=32), min_size=_COUNT, max_size=_COUNT),
    st.integers(0, 9),
)
def test_nothing_held_off_is_mined(
    titles: list[str], grades: list[float], judged: int, orders: list[list[int]], cosines: list[float], seed: int
) -> None:
    titles = titles[:_COUNT]
    products = Products([str(i) for i in range(_COUNT)], titles, titles, [None] * _COUNT)
    relevance = {str(i): grades[i] for i in range(judged)} | {"0": 1.0}
    sources = {
        str(i): RetrievedProducts(np.array([order]), np.zeros((1, _COUNT), "f4")) for i, order in enumerate(orders)
    }
    settings = Mining(first=1, negatives=3, similarity=0.9, margin=0, seed=seed)
    scores = np.array(cosines, np.float32)
    table = mine(
        JudgedQueries("train", {"q": relevance}),
        products,
        sources,
        settings,
        lambda _, rows: scores[rows],
        lambda _, rows: scores[rows],
    ).table
    positives = [int(name) for name, grade in relevance.items() if grade >= GOOD]
    mean = float(np.mean(scores[positives], dtype=np.float64))
    names = table["product_id"].to_pylist()
    assert len(set(names)) == len(names) <= 6
    for name in names:
        assert relevance.get(name, 0) <= POOR
        assert query_key(titles[int(name)]) not in {query_key(titles[place]) for place in positives}
        assert scores[int(name)] <= min(0.9 * mean, mean) + 1e-6
