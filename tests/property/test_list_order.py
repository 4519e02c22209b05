"""The order of a list against the plain reference, paged to the end through tokens: nothing twice, nothing missing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_list import PlainRequest, plain_list

from retrieval.listing.order import Matches, group_members, order_matches

_VALUES = st.sampled_from([None, "a", "b", "c"])
_EXAMPLES = 10_000


@st.composite
def requests(draw: st.DrawFn) -> tuple[PlainRequest, int]:
    """A request over up to 70 products, and a page size."""
    count = draw(st.integers(0, 70))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    products = sorted(random.choice(10 * count + 1, count, replace=False).tolist())
    request = PlainRequest(products, dict(zip(products, random.integers(0, 6, count) / 4, strict=True)))

    def values(options: list) -> dict:
        return {product: options[int(random.integers(len(options)))] for product in products}

    request.head = random.permutation(products)[: int(random.integers(0, 12))].tolist()
    if draw(st.booleans()):
        request.group = values([None, "g1", "g2", "g3", "g4", "g5"])
    if draw(st.booleans()):
        request.sort = [
            (values([None, 1.0, 2.5, -3.0]), bool(random.integers(2))) for _ in range(draw(st.integers(1, 3)))
        ]
        request.head = []
        return request, draw(st.integers(1, 25))
    if draw(st.booleans()):
        request.caps = [
            (values([None, "x", "y", "z"]), int(random.integers(1, 6))) for _ in range(draw(st.integers(1, 2)))
        ]
    if draw(st.booleans()):
        request.buried = set(random.permutation(products)[: int(random.integers(0, 9))].tolist())
    if draw(st.booleans()) and products:
        places = random.integers(1, 2 * count + 2, int(random.integers(0, 5))).tolist()
        request.pins = [(place, products[int(random.integers(count))]) for place in places]
    return request, draw(st.integers(1, 25))


def matches_of(request: PlainRequest) -> Matches:
    """The same request as the service has it."""
    rows = np.array(request.products, np.int64)
    places = {product: place for place, product in enumerate(request.products)}
    sort = []
    for values, descending in request.sort:
        numbers = np.array([np.nan if values[p] is None else values[p] for p in request.products], np.float64)
        sort.append(np.where(np.isnan(numbers), np.inf, -numbers if descending else numbers))
    groups = None
    if request.group is not None:
        names = sorted({value for value in request.group.values() if value is not None})
        groups = np.array(
            [
                len(names) + places[p] if request.group[p] is None else names.index(request.group[p])
                for p in request.products
            ],
            np.int64,
        )
    caps = [
        (np.array([-1 if values[p] is None else ord(values[p]) for p in request.products], np.int64), most)
        for values, most in request.caps
    ]
    return Matches(
        rows,
        np.array([request.relevance[p] for p in request.products], np.float32),
        np.array([places[p] for p in request.head], np.intp),
        sort,
        groups,
        caps,
        np.array([p in request.buried for p in request.products], bool) if request.buried else None,
        [(place, places[p]) for place, p in request.pins],
    )


@settings(max_examples=_EXAMPLES, deadline=None)
@given(requests())
def test_every_page_is_the_reference_s(case: tuple[PlainRequest, int]) -> None:
    request, size = case
    expected = plain_list(request)
    matches = matches_of(request)
    paged: list[int] = []
    while True:
        ordered = order_matches(matches, len(paged) + size)
        assert ordered.total == len(expected)
        page = matches.rows[ordered.places[len(paged) :]].tolist()
        assert len(page) == min(size, len(expected) - len(paged))
        paged += page
        if len(page) < size:
            break
    assert paged == expected


@settings(max_examples=300, deadline=None)
@given(requests())
def test_groups_partition_what_matches(case: tuple[PlainRequest, int]) -> None:
    request, _ = case
    if request.group is None:
        request.group = dict.fromkeys(request.products)
    matches = matches_of(request)
    ordered = order_matches(matches, len(request.products) + 1)
    members = [[best, *group_members(matches, best, 1000).tolist()] for best in ordered.places.tolist()]
    assert sorted(place for group in members for place in group) == list(range(len(request.products)))


def test_long_lists_are_cut_without_changing_their_beginning() -> None:
    random = np.random.default_rng(0)
    count = 50_000
    relevance = random.integers(0, 2000, count).astype(np.float32)
    matches = Matches(np.arange(count), relevance, np.array([7, 3], np.intp))
    whole = [7, 3, *(p for p in np.argsort(-relevance, kind="stable").tolist() if p not in (7, 3))]
    for stop in (1, 2, 10, 500, count):
        assert order_matches(matches, stop).places.tolist() == whole[:stop]


@pytest.mark.parametrize("descending", [False, True])
def test_long_sorted_lists_too(descending: bool) -> None:
    random = np.random.default_rng(1)
    count = 20_000
    price = random.integers(0, 50, count).astype(np.float64)
    relevance = random.random(count).astype(np.float32)
    matches = Matches(np.arange(count), relevance, np.zeros(0, np.intp), [-price if descending else price])
    whole = sorted(range(count), key=lambda p: (-price[p] if descending else price[p], -relevance[p], p))
    assert order_matches(matches, 300).places.tolist() == whole[:300]
