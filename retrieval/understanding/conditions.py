"""What a query states as conditions on products, where some product has it."""

from catalog.view import CatalogView
from core.filters import Filter, InvalidFilter, join_filters
from retrieval.understanding.result import Understanding


def hard_filter(stated: Understanding, view: CatalogView, filter: Filter | None) -> Filter | None:
    """The conditions that some product meets beside the filter and the ones before, joined; None where there is none.

    Takes time that grows with the rows, for each condition whose mask is not kept from before.
    """
    result: Filter | None = None
    for condition in stated.conditions:
        more = join_filters(result, condition)
        try:
            mask = view.mask(join_filters(filter, more))
        except InvalidFilter:  # such as a price in a catalog without prices
            continue
        if mask is None or mask.any():
            result = more
    return result
