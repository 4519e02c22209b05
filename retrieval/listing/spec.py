"""What a request asks of the list of its results."""

from dataclasses import dataclass

DEFAULT_GROUP_FIELD = "item_group_id"
DEFAULT_FACET_VALUES = 10
# Hits that can be paged to, and those that caps look at.
MAX_DEPTH = 10_000
CAP_WINDOW = 50


@dataclass(frozen=True, slots=True)
class FacetSpec:
    """A field to count. `borders` and `interval` are of numbers; with neither, their ranges are chosen."""

    field: str
    limit: int = DEFAULT_FACET_VALUES
    exclude_own_filter: bool = False
    borders: tuple[float, ...] = ()
    interval: float = 0.0
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class SortKey:
    """A key of the order; products without the field come last."""

    field: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """Products with the same value of a field as one result, with so many further ones beside the best."""

    field: str = DEFAULT_GROUP_FIELD
    variants: int = 0


@dataclass(frozen=True, slots=True)
class Cap:
    """How many of the first `CAP_WINDOW` results may share a value."""

    field: str
    most: int


@dataclass(frozen=True, slots=True)
class Diversity:
    """`strength`, 0 to 1, is what difference counts beside relevance."""

    strength: float = 0.0
    caps: tuple[Cap, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.strength or self.caps)


@dataclass(frozen=True, slots=True)
class ListingSpec:
    """All that a request asks of its list. `count` is whether it asks for a total, `approximate` whether one that may
    be too low will do, `match_all` whether every product that passes the filter matches. `digest` is of the request but
    for what may differ between pages."""

    facets: tuple[FacetSpec, ...] = ()
    sort: tuple[SortKey, ...] = ()
    group: GroupSpec | None = None
    diversity: Diversity = Diversity()
    count: bool = False
    approximate: bool = False
    match_all: bool = False
    page_token: str = ""
    digest: bytes = b""

    @property
    def fields(self) -> dict[str, str]:
        """The fields that it names, by their places in the request."""
        named = {f"facets[{i}].field": facet.field for i, facet in enumerate(self.facets)}
        named |= {f"sort[{i}].field": key.field for i, key in enumerate(self.sort)}
        named |= {f"diversity.caps[{i}].field": cap.field for i, cap in enumerate(self.diversity.caps)}
        return named | ({"group_by.field": self.group.field} if self.group else {})

    @property
    def needs_matches(self) -> bool:
        """Whether the request is answered from its match set."""
        return bool(
            self.facets
            or self.sort
            or self.group
            or self.count
            or self.approximate
            or self.match_all
            or self.page_token
        )


PLAIN = ListingSpec()
"""The listing of a request for hits alone."""
