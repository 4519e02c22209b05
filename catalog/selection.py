"""The products of a view that a request may return."""

from dataclasses import dataclass

from catalog.segment import Mask


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """`mask`, of shape (rows,), is True for products that pass the request's filter and are not deleted; `count` is how
    many those are. Lookups among them are cached by `key`, which the filter and the view determine; `condition` names
    the filter alone."""

    mask: Mask
    count: int
    key: str
    condition: str = ""
