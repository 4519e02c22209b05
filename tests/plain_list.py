"""The order of a list, written plainly: lists and dictionaries, one rule after the other."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class PlainRequest:
    """What the reference reads. Products are numbered; absent values are None."""

    products: list[int]
    relevance: dict[int, float]
    head: list[int] = field(default_factory=list)
    sort: list[tuple[dict[int, float | str | None], bool]] = field(default_factory=list)
    group: dict[int, str | None] | None = None
    caps: list[tuple[dict[int, str | None], int]] = field(default_factory=list)
    buried: set[int] = field(default_factory=set)
    pins: list[tuple[int, int]] = field(default_factory=list)


def plain_list(request: PlainRequest) -> list[int]:
    """Every result in its order: a product, or the best product of a group."""
    results = _grouped(request, _ordered(request))
    pins = _pins(request)
    names = {_name(request, product) for _, product in pins}
    results = [product for product in results if _name(request, product) not in names]
    results = _capped(request, results)
    total = len(results) + len(pins)
    taken = -1
    for number, (place, product) in enumerate(pins):
        taken = min(max(place - 1, taken + 1), total - len(pins) + number)
        results.insert(taken, product)
    return results


def _ordered(request: PlainRequest) -> list[int]:
    by_relevance = sorted(request.products, key=lambda product: (-request.relevance[product], product))
    if request.sort:
        result = by_relevance
        for values, descending in reversed(request.sort):
            present = [product for product in result if values[product] is not None]
            absent = [product for product in result if values[product] is None]
            groups: dict = {}
            for product in present:
                groups.setdefault(values[product], []).append(product)
            result = [p for value in sorted(groups, reverse=descending) for p in groups[value]] + absent
        return result
    head = [product for product in request.head if product not in request.buried]
    middle = [p for p in by_relevance if p not in request.head and p not in request.buried]
    return head + middle + [product for product in by_relevance if product in request.buried]


def _name(request: PlainRequest, product: int) -> object:
    if request.group is None or request.group[product] is None:
        return product
    return request.group[product]


def _grouped(request: PlainRequest, products: list[int]) -> list[int]:
    best: dict[object, int] = {}
    for product in products:
        best.setdefault(_name(request, product), product)
    return list(best.values())


def _pins(request: PlainRequest) -> list[tuple[int, int]]:
    result: dict[object, tuple[int, int]] = {}
    for place, product in sorted(request.pins, key=lambda pin: pin[0]):
        result.setdefault(_name(request, product), (place, product))
    return list(result.values())


def _capped(request: PlainRequest, products: list[int]) -> list[int]:
    if not request.caps:
        return products
    first: list[int] = []
    later: list[int] = []
    counts: Counter = Counter()
    left = list(products)
    while left and len(first) < 50:
        product = left.pop(0)
        values = [(number, values[product]) for number, (values, _) in enumerate(request.caps)]
        values = [value for value in values if value[1] is not None]
        if any(counts[value] >= request.caps[value[0]][1] for value in values):
            later.append(product)
        else:
            counts.update(values)
            first.append(product)
    return first + later + left
